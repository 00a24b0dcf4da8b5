// Puts the packages that only the command needs into the built package, so that whoever wants the library installs none.
// Promises: each such package is there once, loaded when its importer is, its licence beside it; of our own files nothing
// changes but where they import it from.
// Read on: docs/packaging.md.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Plugin, build } from 'esbuild';

/** Where the bundled packages come to lie in the build. */
const FOLDER = 'bundled';
const LICENCES = 'LICENSES.txt';
const IMPORTED = /(\bfrom |\bimport\()'([^'.][^']*)'/g;

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

/**
 * Bundles what `dist`, a build, imports and package.json in `root` does not have installed with it. Returns the names of
 * these packages.
 */
export async function bundlePackages(dist: string, root: string): Promise<string[]> {
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Manifest;
  const installed = new Set([...Object.keys(dependencies), ...Object.keys(optionalDependencies)]);
  const found = new Set<string>();
  for (const folder of ['cli', 'tunnel']) {
    for (const name of readdirSync(join(dist, folder), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.js')) continue;
      const file = join(dist, folder, name);
      const text = readFileSync(file, 'utf8');
      const bundled = text.replaceAll(IMPORTED, (statement, keyword: string, specifier: string) => {
        if (specifier.startsWith('node:') || installed.has(nameOf(specifier))) return statement;
        found.add(specifier);
        return `${keyword}'${relative(dirname(file), join(dist, FOLDER, `${specifier}.js`))}'`;
      });
      if (bundled !== text) writeFileSync(file, bundled);
    }
  }
  if (found.size === 0) return [];
  const { metafile } = await build({
    entryPoints: Object.fromEntries(Array.from(found, name => [name, `names-of:${name}`])),
    outdir: join(dist, FOLDER),
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    // Packages of CommonJS ask for Node's own modules by `require`, which a module does not have.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    plugins: [namesOf(root)],
    metafile: true,
    logLevel: 'error',
  });
  writeFileSync(join(dist, FOLDER, LICENCES), licencesOf(root, Object.keys(metafile.inputs)));
  return [...found].toSorted();
}

/** A module that exports by name what a package does: of one in CommonJS a bundler does not know the names, and Node does. */
function namesOf(root: string): Plugin {
  return {
    name: 'names-of',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^names-of:/ }, ({ path }) => ({ path: path.slice(9), namespace: 'names-of' }));
      onLoad({ filter: /.*/, namespace: 'names-of' }, async ({ path }) => {
        const names = Object.keys((await import(path)) as object).filter(
          name => name !== 'default' && name !== 'module.exports',
        );
        return { contents: `export { ${names.join(', ')} } from '${path}';`, resolveDir: root };
      });
    },
  };
}

function nameOf(specifier: string): string {
  const parts = specifier.split('/');
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

/** The licences of the packages that these files are from. */
function licencesOf(root: string, files: readonly string[]): string {
  const folders = files.flatMap(path => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  const texts = [...new Set(folders)].toSorted().map(folder => {
    const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as {
      readonly [field in 'name' | 'version' | 'license']: string;
    };
    const file = readdirSync(join(root, folder)).find(name => /^licen[cs]e/i.test(name));
    if (file === undefined) throw new Error(`${manifest.name} has no licence to bundle`);
    const text = readFileSync(join(root, folder, file), 'utf8').trim();
    return `${manifest.name} ${manifest.version} (${manifest.license})\n\n${text}\n`;
  });
  return texts.join(`\n${'-'.repeat(80)}\n\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
  await bundlePackages(join(root, 'dist'), root);
}
