// A service that knows peers: PORT FOLDER. It says each key that it is asked for, and answers with what stands in
// FOLDER/answer as soon as that is there; when it is empty, that it knows nobody.

import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const [port, folder] = process.argv.slice(2);
const path = join(folder, 'answer');

createServer(async (request, response) => {
  process.stdout.write(`asked ${request.url}\n`);
  while (!existsSync(path)) await sleep(5);
  const answer = readFileSync(path);
  response.writeHead(answer.length > 0 ? 200 : 404).end(answer);
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'));
