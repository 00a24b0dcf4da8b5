// A server that every user of this machine can reach: whoever comes last gets in, and who is kept stays.

import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { boundConnections } from '../../native/strangers.js';

it('the oldest gives way, but for those that are kept', async () => {
  const server = createServer();
  const accepted: Socket[] = [];
  const keep = boundConnections(server, 3);
  server.on('connection', socket => accepted.push(socket.on('error', () => undefined)));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const clients: Socket[] = [];
  const come = async () => {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.on('error', () => undefined).resume();
    clients.push(client);
    await Promise.all([once(client, 'connect'), once(server, 'connection')]);
  };
  const open = () => accepted.map(socket => !socket.destroyed);
  for (let n = 0; n < 4; n++) await come();
  expect(open()).toEqual([false, true, true, true]);
  keep(accepted[1]);
  await come();
  expect(open()).toEqual([false, true, true, true, true]);
  await come();
  expect(open()).toEqual([false, true, false, true, true, true]);
  // A place is free when its holder has gone.
  accepted[3].destroy();
  await once(accepted[3], 'close');
  await come();
  expect(open()).toEqual([false, true, false, false, true, true, true]);
  for (const each of [...clients, ...accepted]) each.destroy();
  server.close();
  await once(server, 'close');
});
