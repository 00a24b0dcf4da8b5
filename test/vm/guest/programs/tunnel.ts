// wireonce as a library: a tunnel on the event loop of this process, with a packet source of its own and no TUN.
// Packets are made while their batch gathers, so that a fork in the middle of a batch parts its second half. That takes most
// of the time: what is sealed and sent after it is the same in clones.

import { type CreatedTunnel, createTunnel, parseConfig } from '../../../../tunnel/index.js';
import { type SourceSelection, openVmGenId } from '../../../../vmgenid/index.js';
import { Load, type LoadOptions } from '../load.js';
import { PAYLOAD_BYTES, Payloads } from '../payloads.js';
import { serve } from '../serve.js';

const IP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const PACKET_BYTES = IP_HEADER_BYTES + UDP_HEADER_BYTES + PAYLOAD_BYTES;
const DISCARD_PORT = 9;
/** How often a packet is written until it is sent. */
const DRAFTS = 24;

const payloads = new Payloads();
const packet = udpPacket();
let created: CreatedTunnel | undefined;

const load = new Load(burst => {
  if (!created) return;
  const { device } = created.tunnel;
  device.cork();
  for (let i = 0; i < burst; i++) {
    for (let draft = 0; draft < DRAFTS; draft++) payloads.write(packet, IP_HEADER_BYTES + UDP_HEADER_BYTES);
    device.sendPacket(packet);
  }
  device.uncork();
});

serve({
  /** `text`: in the manner of wg-quick. Returns the names of the sources that are used. */
  async open({ text, sources }: { text: string; sources: SourceSelection }) {
    created = await createTunnel({
      config: parseConfig(text, 'wg0.conf'),
      vmgenid: await openVmGenId(sources),
      onPacket: () => {},
    });
    return created.vmgenid.sources.map(({ name }) => name);
  },
  load: (options: LoadOptions) => load.set(options),
  /** Ends the session: the next packet starts a handshake. */
  restart: () => created?.tunnel.device.wipe(),
});

/** An IPv4 packet with a UDP datagram from 10.77.0.2 to 10.77.0.1; nobody on the way looks at its checksums. */
function udpPacket(): Uint8Array {
  const bytes = new Uint8Array(PACKET_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x45;
  view.setUint16(2, PACKET_BYTES);
  bytes[8] = 64;
  bytes[9] = 17;
  bytes.set([10, 77, 0, 2], 12);
  bytes.set([10, 77, 0, 1], 16);
  view.setUint16(IP_HEADER_BYTES, DISCARD_PORT);
  view.setUint16(IP_HEADER_BYTES + 2, DISCARD_PORT);
  view.setUint16(IP_HEADER_BYTES + 4, UDP_HEADER_BYTES + PAYLOAD_BYTES);
  return bytes;
}
