// A copy of the built program in which something is different: for controls, and for programs that tell their secrets.
// Promises: the original stays as it is; a change that finds no place to be made is a failure of the test.
// Read on: recording-program.ts; ../drill.test.ts.

import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { folder } from './machine.js';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

/** Returns the folder that it lies in, as the package lies in its own. It is removed at the end of the test. */
export function copyProgram(): string {
  const home = folder();
  for (const name of ['dist', 'package.json'])
    cpSync(join(ROOT, name), join(home, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'));
  return home;
}

/** The path of a program in one module of which a piece of text is another. For `MachineOptions`. */
export function programWith(module: string, text: string, other: string): string {
  const home = copyProgram();
  const path = join(home, module);
  const source = readFileSync(path, 'utf8');
  if (source.split(text).length !== 2) throw new Error(`${module} has no place for the change, or several`);
  writeFileSync(
    path,
    source.replace(text, () => other),
  );
  return join(home, 'dist/cli/main.js');
}
