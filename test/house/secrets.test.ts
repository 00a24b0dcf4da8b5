// Where keys pass by, memory comes from native/secret-bytes.ts. All other memory that is made there is listed here, with
// what lies in it: whoever adds a line says that it is no secret.
// Read on: native/secret-bytes.ts (why); test/system/daemon/secrets.test.ts (what a running daemon's memory holds).

import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Files and folders that keys pass through. */
const WATCHED = [
  'native',
  'protocol',
  'crng',
  'sessions',
  'gateway',
  'tunnel/daemon/uapi',
  'tunnel/daemon/device-thread.ts',
  'tunnel/daemon/device-thread/messages.ts',
  'tunnel/keys.ts',
  'tunnel/config/enrolment-secret.ts',
  'tunnel/daemon/clone',
  'tunnel/linux/enrolment.ts',
  'tunnel/linux/device-configuration.ts',
  'cli/keys.ts',
  'vmgenid/sources/hook-call.ts',
];

/** Makes bytes, or a text of them, which can never be erased. */
const MAKES_BYTES =
  /new Uint8(Clamped)?Array\((?!0\))|Uint8Array\.from\(|Buffer\.(from|alloc|allocUnsafe|allocUnsafeSlow|concat|copyBytesFrom)\(|structuredClone\(|\.toString\('(hex|base64|base64url)'|new TextDecoder/;
/** So does this, but of texts and lists too: it is looked for where there are few of those. */
const COPIES = /\.(slice|toSorted|toReversed|with)\(/;
const COPIES_IN = /^(protocol|crng)\//;

/** The lines that do it, by file. */
const NO_SECRETS: Record<string, readonly string[]> = {
  // Here it is done.
  'native/secret-bytes.ts': ['return new Uint8Array(new ArrayBuffer(length));'],
  'sessions/key-slab.ts': ['allocate: byteLength => new Uint8Array(sharedMemory(byteLength)),'],
  // On a buffer of its own, as secret bytes are; whoever puts a key there erases it.
  'native/native-memory.ts': [
    'const start = Number(koffi.address(new Uint8Array(memory)));',
    'super(new Uint8Array(memory, at, length), address);',
  ],
  // The address of a socket.
  'native/vsock.ts': [
    'const bytes = new Uint8Array(address.buffer);',
    'const [peerAt, lengthAt] = [peer, length].map(({ buffer }) => addressOf(new Uint8Array(buffer)));',
  ],
  // Views of memory that was made there.
  'tunnel/daemon/uapi/lines.ts': [
    'const NOTHING = Buffer.alloc(0);',
    'const joined = Buffer.from(secretBytes(rest.length + chunk.length).buffer);',
  ],
  'vmgenid/sources/hook-call.ts': [
    // What an agent says comes as JSON (SECURITY.md).
    "value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));",
    "Buffer.from(seed.buffer).write(value, 'base64');",
  ],
  // The name of a secret.
  'gateway/stores/record-bytes.ts': [
    "...(name && { enrolledUnder: new TextDecoder('utf-8', { ignoreBOM: true }).decode(name) }),",
  ],
  // Keys and packets to measure and to test by.
  'protocol/suites/fastest.ts': [
    'readonly key = new Uint8Array(KEY_BYTES).fill(0x42);',
    'readonly packets = Array.from({ length: PACKETS }, () => new Uint8Array(PACKET_BYTES + TAG_BYTES));',
    'readonly message = new Uint8Array(116);',
    'readonly out = new Uint8Array(32);',
    'readonly mac = new Uint8Array(MAC_BYTES);',
  ],
  'protocol/suites/self-test.ts': [
    'const pattern = (length: number, step: number) => Uint8Array.from({ length }, (_, i) => step * i + 1);',
    'const buffer = new Uint8Array(message.length + TAG_BYTES);',
    'const buffer = new Uint8Array(plaintext.length + TAG_BYTES);',
    'const point = new Uint8Array(32);',
    'const secret = new Uint8Array(32);',
    'const refusesZero = !suite.sharedSecret(key, new Uint8Array(32), new Uint8Array(32));',
    'const outs = [32, 16, 32].map(length => new Uint8Array(length));',
  ],
  // Nonces and counters.
  'protocol/suites/sodium.ts': [
    'const nonce = new Uint8Array(12);',
    // What is sent.
    'const out = new Uint8Array(plaintext.length + TAG_BYTES);',
  ],
  'protocol/suites/noble.ts': [
    'const nonce = new Uint8Array(12);',
    'const BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31));',
  ],
  'crng/keystream.ts': ['const ZERO_NONCE = new Uint8Array(12);'],
  'crng/crng.ts': [
    // A UUID is for all to see.
    "return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');",
  ],
  'sessions/cookies.ts': ['const nonce = new Uint8Array(XNONCE_BYTES);'],
  'protocol/tai64n.ts': ['const out = new Uint8Array(TAI64N_BYTES);'],
  'sessions/draw.ts': ['const four = new Uint8Array(4);'],
  // Whether a tag was right.
  'protocol/suites/ipsec-mb/batches.ts': ['readonly #opened = new Uint8Array(BATCH_CAPACITY);'],
  'protocol/batches.ts': ['readonly #opened = new Uint8Array(BATCH_CAPACITY);'],
  // Messages, and parts of them: public keys, timestamps, MACs.
  'protocol/symmetric-state.ts': ['const opened = new Uint8Array(sealed);'],
  'protocol/handshake.ts': ['return new Uint8Array(bytes.subarray(from, to));'],
  'protocol/cookie.ts': [
    'const portBytes = new Uint8Array(2);',
    // The keys that everybody can derive from a public key.
    'const key = new Uint8Array(HASH_BYTES);',
    'message: Uint8Array = new Uint8Array(COOKIE_REPLY_BYTES),',
  ],
  'sessions/handshake-queue.ts': ['const memory = new Uint8Array(INITIATION_BYTES);'],
  'protocol/suite.ts': ['const publicKey = new Uint8Array(KEY_BYTES);'],
  'sessions/peer.ts': [
    'readonly latestTimestamp = new Uint8Array(12);',
    'readonly lastMac1 = new Uint8Array(MAC_BYTES);',
    'this.publicKey = new Uint8Array(publicKey);',
  ],
  // Zeros, which stand for no key.
  'sessions/admission.ts': [
    'const NO_KEY = new Uint8Array(KEY_BYTES);',
    'allowedIps: answer.allowedIps.map(({ ip, prefix }) => ({ ip: new Uint8Array(ip), prefix })),',
    'timestamp: new Uint8Array(peer.latestTimestamp),',
  ],
  'sessions/identity.ts': [
    'publicKey: new Uint8Array(KEY_BYTES),',
    "context.emit({ type: 'identityDrawn', publicKey: new Uint8Array(local.publicKey), epoch });",
  ],
  'sessions/peers.ts': ['const timestamp = new Uint8Array(peer.latestTimestamp);'],
  'sessions/device.ts': [
    'const NO_KEY = new Uint8Array(KEY_BYTES);',
    'answer = this.#admission?.admit(new Uint8Array(awaited.publicKey));',
    'publicKey: new Uint8Array(peer.publicKey),',
  ],
  // Packets on their way out, larger than what the engine keeps in its heap, and zeroed by the release gate.
  'sessions/release.ts': [
    'const output = this.#spare.pop() ?? emptyOutput(new Uint8Array(this.#pooledBytes));',
  ],
  // One byte, to see whether a device answers; one byte, to fetch memory.
  'crng/entropy.ts': ['device.readSome(new Uint8Array(1), 0);'],
  'sessions/touch.ts': ['const kept = new Uint8Array(1);'],
  // Addresses.
  'gateway/derive.ts': ['const address = new Uint8Array(ADDRESS_BYTES);'],
  'sessions/allowed-ips.ts': ['const bytes = new Uint8Array(V6_BYTES);'],
  'tunnel/daemon/uapi/values.ts': ['const ip = new Uint8Array(4);'],
  'tunnel/daemon/device-thread/messages.ts': ['const packed = new Uint8Array(bytes);'],
  // Public keys, and a timestamp: copies, also of Buffers.
  'gateway/stores/record.ts': [
    'publicKey: new Uint8Array(record.publicKey),',
    '...(latestTimestamp && { latestTimestamp: new Uint8Array(latestTimestamp) }),',
  ],
  'gateway/stores/memory.ts': [
    'for (const range of kept?.allowedIps ?? []) this.#owners.set(rangeId(range), new Uint8Array(publicKey));',
  ],
  'gateway/stores/file.ts': [
    'this.#waiting.push({ publicKey: new Uint8Array(publicKey), change, resolve, reject });',
  ],
  // Public keys, and none at all.
  'tunnel/linux/enrolment.ts': [
    'const NO_KEY = new Uint8Array(32);',
    'this.#publicKey = device.publicKey && new Uint8Array(device.publicKey);',
  ],
  'tunnel/daemon/clone/identity-file.ts': ["const MAGIC = Buffer.from('wireonce id 1\\n\\0\\0');"],
  // What an enroller prints comes as text (SECURITY.md).
  'tunnel/daemon/clone/enroller.ts': ["const text = Buffer.concat(printed).toString('utf8');"],
  // What is said without keys.
  'tunnel/daemon/uapi/format.ts': [
    'return Buffer.from(secretBytes(PIECE_BYTES).buffer);',
    "return Buffer.from(`${question}=${JSON.stringify(answer)}\\n`, 'utf8');",
  ],
  'tunnel/daemon/uapi/client.ts': [
    "await this.#call([Buffer.from('get=1\\n\\n', 'latin1')], (name, value) => reader.line(name, value));",
    "await this.#call([Buffer.from(`${question}=1\\n\\n`, 'latin1')], onLine, MAX_STATUS_BYTES);",
  ],
  'tunnel/daemon/uapi/connection.ts': [
    "await this.#send(Buffer.from(formatErrno(request.operation, errno), 'latin1'));",
  ],
};

function sources(path: string): string[] {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path];
  return readdirSync(join(ROOT, path), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => `${path}/${name}`);
}

function linesThatMakeBytes(file: string, text: string): string[] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => !/^(\/\/|\*|\/\*)/.test(line))
    .filter(line => MAKES_BYTES.test(line) || (COPIES_IN.test(file) && COPIES.test(line)));
}

describe.each(WATCHED)('%s', path => {
  it('makes no memory that is neither for secrets nor listed here', () => {
    for (const file of sources(path)) {
      const found = linesThatMakeBytes(file, readFileSync(join(ROOT, file), 'utf8'));
      expect(found, file).toEqual(NO_SECRETS[file] ?? []);
    }
  });
});

it('the list names no file that is gone or not watched', () => {
  expect(Object.keys(NO_SECRETS).filter(file => !WATCHED.flatMap(sources).includes(file))).toEqual([]);
});

it.each([
  'const ephemeralPrivate = new Uint8Array(KEY_BYTES);',
  'return new Uint8Array(this.#peer(publicKey).presharedKey);',
  'const key = this.#block.slice(at, at + KEY_BYTES);',
  'const bytes = Buffer.alloc(KEY_BYTES);',
  "const text = key.toString('hex');",
])('the check itself sees %s', line => {
  expect(linesThatMakeBytes('protocol/new.ts', `  ${line}\n`)).toEqual([line]);
});
