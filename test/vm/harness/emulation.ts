// How much slower an emulated processor is than the real one that runs it, for work such as a daemon does.
// Promises: what starting a program costs is not in it, on either side, nor what else the real processor does meanwhile.
// Read on: README.md "Times".

import { execFileSync } from 'node:child_process';
import type { VmLab } from './lab.js';

/** Hashes and JavaScript around them; says what it cost itself, in milliseconds of a processor. */
const WORK = `
  const { createHash } = require('node:crypto');
  const before = process.cpuUsage();
  let bytes = Buffer.alloc(32);
  for (let i = 0; i < ROUNDS; i++) bytes = createHash('blake2s256').update(bytes).digest();
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(String((user + system) / 1e3));
`;
const ROUNDS = 20_000;
const TIMES = 5;

const program = (rounds: number) => WORK.replace('ROUNDS', String(rounds)).replaceAll(/\s+/g, ' ');

/** Milliseconds of a real processor for one of an emulated one. Boots a machine that does nothing else. */
export async function emulationFactor(lab: VmLab): Promise<number> {
  const machine = await lab.machine();
  try {
    const inGuest = async (rounds: number) => {
      const before = machine.processorMs();
      await machine.agent.shell(`node -e "${program(rounds)}"`);
      return machine.processorMs() - before;
    };
    const emulated: number[] = [];
    const real: number[] = [];
    // The first fills the caches of both.
    for (let i = 0; i <= TIMES; i++) {
      const start = await inGuest(0);
      const whole = await inGuest(ROUNDS);
      const said = execFileSync(process.execPath, ['-e', program(ROUNDS)]).toString();
      if (i === 0) continue;
      emulated.push(whole - start);
      real.push(Number(said));
    }
    return median(emulated) / median(real);
  } finally {
    await machine.close();
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
