// What a stranger's program does first: loads every subpath, and has two peers talk. Prints what was heard.

import { createRequire } from 'node:module';

const { exports } = createRequire(import.meta.url)('wireonce/package.json');
const loaded = {};
for (const subpath of Object.keys(exports).filter(name => !name.endsWith('.json'))) {
  loaded[subpath] = await import(subpath.replace('.', 'wireonce'));
  if (Object.keys(loaded[subpath]).length < 3) throw new Error(`${subpath} is empty`);
}
const { UdpEndpoint, UdpTransport, EventLoopTunnel, VmGenId, openCrng, fastestSuite, parseAllowedIp, publicKeyOf } =
  loaded['.'];
const vmgenid = new VmGenId([]);
const opened = await openCrng({ vmgenid });
const suite = await fastestSuite();
const [a, b] = [1, 2].map(host => ({ host, privateKey: opened.crng.x25519PrivateKey() }));
for (const peer of [a, b]) {
  peer.publicKey = publicKeyOf(suite, peer.privateKey);
  peer.transport = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: false });
}
const heard = Promise.withResolvers ? Promise.withResolvers() : withResolvers();
const tunnels = [
  [a, b],
  [b, a],
].map(
  ([own, other]) =>
    new EventLoopTunnel({
      crng: opened.crng,
      vmgenid,
      suite,
      privateKey: own.privateKey,
      transports: [own.transport],
      peers: [
        {
          publicKey: other.publicKey,
          endpoint: UdpEndpoint.of('127.0.0.1', other.transport.status.port),
          allowedIps: [parseAllowedIp(`10.0.0.${other.host}/32`)],
        },
      ],
      onPacket: packet => heard.resolve(packet.length),
    }),
);
tunnels[0].sendPacket(Uint8Array.of(0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2));
console.log(`heard ${await heard.promise} bytes by ${process.version}`);
await Promise.all(tunnels.map(tunnel => tunnel.close()));
await opened.close();
await vmgenid.close();

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
