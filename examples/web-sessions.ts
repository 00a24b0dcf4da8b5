// A web server that resets its logins when the machine under it is forked: no session goes on in two places.
// What to see: a login from before the fork is worth nothing after it, and the tokens that two clones draw from then on
// differ. No tunnel in here: only wireonce/vmgenid and wireonce/crng.
// Run: npm run build && node dist/examples/web-sessions.js [PORT] [GENERATION_FILE] (it prints what to try)

import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Crng, CrngError, type EntropySource, kernelEntropy } from 'wireonce/crng';
import { FileSource, type GenerationSource, HookSource, NO_EPOCH, openVmGenId } from 'wireonce/vmgenid';

interface Options {
  /** 0 takes any free one. */
  readonly port?: number;
  /**
   * Tells of forks; closed with the server. Default: a hook on loopback, for the hypervisor's agent to call. Until it
   * has called, a clone goes on as before: keep its network down for so long. Give a hook a `token` where other users
   * have accounts.
   */
  readonly source?: GenerationSource;
  readonly entropy?: EntropySource;
}

type Answer = { readonly status: number; readonly text: string; readonly token?: string };

/** A real server would keep salted hashes. */
const PASSWORDS = new Map([['alice', 'wonderland']]);

/** Resolves when the server listens on loopback, with its ports and the function that ends it. */
export async function main(options: Options = {}, print: (line: string) => void = console.log) {
  const { port = 0, source = new HookSource('127.0.0.1:0'), entropy = kernelEntropy() } = options;
  const sessions = new Map<string, string>();
  const vmgenid = await openVmGenId({ sources: [source] });
  const crng = new Crng({ entropy, vmgenid, now: () => performance.now() });
  // The last phase: the generator has parted from its siblings by now. Whoever announced the fork waits for this.
  const forgetLogins = () => {
    print(`the machine was forked: ${sessions.size} logins end`);
    sessions.clear();
  };
  vmgenid.register('application', forgetLogins, { name: 'logins' });

  function logIn(request: IncomingMessage): Answer {
    const [user = '', password] = credentials(request);
    if (password === undefined || PASSWORDS.get(user) !== password) return { status: 403, text: 'no' };
    try {
      const token = Buffer.from(crng.bytes(32)).toString('base64url');
      sessions.set(token, user);
      return { status: 200, text: `welcome, ${user}`, token };
    } catch (error) {
      // After a fork that came without an ID or a seed nothing parts us from our siblings yet: no token for now.
      if (error instanceof CrngError) return { status: 503, text: error.code };
      throw error;
    }
  }

  function route(request: IncomingMessage): Answer {
    if (`${request.method} ${request.url}` === 'POST /login') return logIn(request);
    const user = sessions.get(/(?:^|; )session=([^;]*)/.exec(request.headers.cookie ?? '')?.[1] ?? '');
    return user ? { status: 200, text: `hello, ${user}` } : { status: 401, text: 'log in first' };
  }

  const server = createServer((request, response) => {
    // One look at the generation before a session counts, and one before the answer leaves: a token that was drawn in
    // front of the snapshot must not be given out behind it, by every clone. Nothing is awaited in between.
    const epoch = vmgenid.poll();
    let answer: Answer = { status: 503, text: 'cannot tell whether this machine was forked' };
    if (epoch !== NO_EPOCH) answer = route(request);
    if (vmgenid.poll() !== epoch) answer = { status: 503, text: 'forked just now: ask again' };
    const cookie = answer.token && `session=${answer.token}; HttpOnly; SameSite=Strict; Path=/`;
    response.writeHead(answer.status, cookie ? { 'Set-Cookie': cookie } : {});
    response.end(`${answer.text}\n`);
  });

  const close = async () => {
    const closed = new Promise(resolve => server.close(resolve));
    server.closeAllConnections();
    await closed;
    crng.close();
    entropy.close();
    await vmgenid.close();
  };
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    await close();
    throw error;
  }
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hookUrl = source instanceof HookSource ? `http://${source.address}/fork` : undefined;
  print(`log in:   curl -c jar -u alice:wonderland -X POST ${url}/login`);
  print(`look:     curl -b jar ${url}/`);
  if (hookUrl) print(`fork:     curl -d '{"vmGenId":"${crng.uuid()}"}' ${hookUrl}`);
  else print(`fork:     write a new GUID to the file behind ${source.name}`);
  return { url, hookUrl, close };
}

/** User and password of HTTP's basic authentication. */
function credentials({ headers }: IncomingMessage): string[] {
  const [scheme, encoded = ''] = (headers.authorization ?? '').split(' ');
  if (scheme !== 'Basic') return [];
  const [user = '', ...password] = Buffer.from(encoded, 'base64').toString().split(':');
  return [user, password.join(':')];
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) {
  const [port = '0', file] = process.argv.slice(2);
  const { close } = await main({ port: Number(port), ...(file && { source: new FileSource(file) }) });
  process.once('SIGINT', () => void close());
}
