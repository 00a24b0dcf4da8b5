// The agent in the guest: does what the host asks for, one line of JSON at a time.
// Promises: while no request is open it writes nothing, so that a snapshot taken then cuts no line in two.

import { type ChildProcess, execFile, fork } from 'node:child_process';
import { open, readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type AgentCommand, type AgentReply, type AgentRequest, CONTROL_PORT } from './protocol.js';

const PORTS = '/sys/class/virtio-ports';
/** A port without anybody on the other side reads as at its end. Milliseconds until the next look. */
const RETRY_MS = 20;
/** An emulated processor on a busy machine starts a program in tens of seconds. */
const SHELL_MS = 170_000;

interface Program {
  readonly child: ChildProcess;
  readonly waiting: Map<number, { resolve(value: unknown): void; reject(error: Error): void }>;
}

const programs = new Map<string, Program>();
let calls = 0;

async function carryOut(command: AgentCommand): Promise<unknown> {
  switch (command.do) {
    case 'ping':
      return process.uptime();
    case 'shell':
      return shell(command.line);
    case 'start':
      return start(command);
    case 'call':
      return call(command.program, command.method, command.argument);
    case 'stop':
      return stop(command.program);
  }
}

function shell(line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', line], { timeout: SHELL_MS }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${line}: ${stderr.trim() || error.message}`));
      else resolve(stdout);
    });
  });
}

/** Starts a program of ours and waits for its first message, which says that it serves. */
function start({
  program: name,
  nodeArguments,
  environment,
}: AgentCommand & { do: 'start' }): Promise<unknown> {
  if (programs.has(name)) throw new Error(`${name} runs already`);
  const child = fork(fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url)), {
    execArgv: [...(nodeArguments ?? [])],
    env: { ...process.env, ...environment },
    serialization: 'advanced',
  });
  const program: Program = { child, waiting: new Map() };
  programs.set(name, program);
  return new Promise((resolve, reject) => {
    program.waiting.set(0, { resolve, reject });
    child.on('message', message => {
      const { id, result, error } = message as AgentReply;
      const waiter = program.waiting.get(id);
      program.waiting.delete(id);
      if (error === undefined) waiter?.resolve(result);
      else waiter?.reject(new Error(error));
    });
    child.on('exit', (code, signal) => {
      programs.delete(name);
      for (const { reject } of program.waiting.values()) {
        reject(new Error(`${name} ended with ${code ?? signal}`));
      }
    });
  });
}

function call(name: string, method: string, argument: unknown): Promise<unknown> {
  const program = programs.get(name);
  if (!program) throw new Error(`${name} does not run`);
  const id = ++calls;
  return new Promise((resolve, reject) => {
    program.waiting.set(id, { resolve, reject });
    program.child.send({ id, method, argument });
  });
}

function stop(name: string): Promise<void> {
  const child = programs.get(name)?.child;
  if (!child) return Promise.resolve();
  return new Promise(resolve => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

const port = await openPort();
let unread = '';
const bytes = Buffer.alloc(65_536);
for (;;) {
  const { bytesRead } = await port.read(bytes, 0, bytes.length, null);
  if (bytesRead === 0) await new Promise(resolve => setTimeout(resolve, RETRY_MS));
  const lines = (unread + bytes.toString('utf8', 0, bytesRead)).split('\n');
  unread = lines.pop() ?? '';
  for (const line of lines) void answer(JSON.parse(line) as AgentRequest);
}

async function answer(request: AgentRequest): Promise<void> {
  let reply: AgentReply;
  try {
    reply = { id: request.id, result: await carryOut(request) };
  } catch (error) {
    reply = { id: request.id, error: (error as Error).message };
  }
  await port.write(`${JSON.stringify(reply)}\n`);
}

async function openPort() {
  for (const name of await readdir(PORTS)) {
    const label = await readFile(`${PORTS}/${name}/name`, 'utf8');
    if (label.trim() === CONTROL_PORT) return open(`/dev/${name}`, 'r+');
  }
  throw new Error(`no serial port ${CONTROL_PORT}`);
}
