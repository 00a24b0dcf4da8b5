// A program of the operator's that is told a clone's new public key and prints the rest of its identity.
// Promises: it is bounded in time and in what it prints, and ended, with all that it started, when it is over either way; it
// inherits no setting of ours, which may be secret.
// Read on: clone.ts (who asks again); docs/configuration.md "Enrolment".

import { spawn } from 'node:child_process';

export interface EnrollerQuestion {
  /** An absolute path. */
  readonly program: string;
  /** Base64. */
  readonly publicKey: string;
  readonly interface: string;
  readonly epoch: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Default 30 s. */
  readonly timeoutMs?: number | undefined;
}

const TIMEOUT_MS = 30_000;
const MOST_BYTES = 65_536;
/** Whatever it printed is in the pipe when it ends, and is read in this time. */
const LEAVING_MS = 1_000;
/** What of its complaints is passed on. */
const COMPLAINT_BYTES = 200;

/** What it has printed. Rejects with an `Error` that says in words why that is not to be had. */
export function askEnroller(question: EnrollerQuestion): Promise<string> {
  const { program, publicKey, epoch, signal, timeoutMs = TIMEOUT_MS } = question;
  return new Promise((resolve, reject) => {
    const child = spawn(program, [], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...withoutOurs(process.env),
        WIREONCE_PUBLIC_KEY: publicKey,
        WIREONCE_INTERFACE: question.interface,
        WIREONCE_EPOCH: String(epoch),
      },
      detached: true,
    });
    const printed: Buffer[] = [];
    let bytes = 0;
    let complaint = '';
    let problem: string | undefined;
    child.once('error', error => (problem ??= error.message));
    // Of a process that found no descriptors left there is nothing but the error.
    if (!child.stdout) return void child.once('error', reject);
    const give = (up: string) => {
      problem ??= up;
      endGroup(child.pid);
    };
    const timer = setTimeout(() => give(`took longer than ${timeoutMs / 1_000} s`), timeoutMs);
    const onAbort = () => give('is not needed any more');
    signal.addEventListener('abort', onAbort, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MOST_BYTES) give(`printed more than ${MOST_BYTES} bytes`);
      else printed.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < COMPLAINT_BYTES) complaint += chunk.toString('utf8');
    });
    // It need not read.
    child.stdin.on('error', () => undefined);
    child.stdin.end(`${publicKey}\n`);
    // What it has left running is not waited for, also where that has left its group and holds the output open.
    let leaving: NodeJS.Timeout | undefined;
    child.once('exit', () => {
      endGroup(child.pid);
      leaving = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, LEAVING_MS);
    });
    child.once('close', (code, by) => {
      clearTimeout(timer);
      clearTimeout(leaving);
      signal.removeEventListener('abort', onAbort);
      const text = Buffer.concat(printed).toString('utf8');
      for (const chunk of printed) chunk.fill(0);
      if (problem === undefined && code !== 0) {
        problem = by ? `was ended by ${by}` : `ended with status ${code}`;
        const said = complaint.trim().slice(0, COMPLAINT_BYTES).replaceAll(/\s+/g, ' ');
        if (said !== '') problem += `: ${said}`;
      }
      if (problem === undefined) resolve(text);
      else reject(new Error(problem));
    });
  });
}

function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('WIREONCE_')));
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Everybody in it is gone.
  }
}
