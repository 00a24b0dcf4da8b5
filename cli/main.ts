#!/usr/bin/env node
// The `wireonce` program's door: is this Node new enough, and can what comes behind be loaded?
// Promises: a sentence, and no stack, from a Node that is too old or a process that may open too few files. So it has no
// static import and no syntax newer than that of Node 12.
// Read on: process.ts.

/** Those of `engines` in package.json. */
const [MAJOR, MINOR] = [20, 19];

const version = process.versions.node;
const [major, minor] = version.split('.').map(Number);
if (major < MAJOR || (major === MAJOR && minor < MINOR)) {
  leave(`this needs Node ${MAJOR}.${MINOR} or newer, and runs in Node ${version}: install a newer one`);
} else {
  import('./process.js')
    .then(program => program.run())
    .catch((error: NodeJS.ErrnoException) => {
      const { code, message } = error;
      if (code === 'EMFILE' || code === 'ENFILE')
        leave(
          'too few files may be open at a time to load the program: raise the limit, as by ulimit -n 1024',
        );
      else leave(`the program cannot be loaded: ${message.split('\n')[0]}: install it anew`);
    });
}

function leave(sentence: string): void {
  process.stderr.write(`wireonce: ${sentence}\n`);
  process.exitCode = 1;
}
