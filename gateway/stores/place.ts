// The file of a store before a database is opened in it: whether it may be one of ours, and a new one where there is none.
// Promises: nobody but its owner may read what is made here; what is there already is left as it is.
// Read on: sqlite.org/fileformat.html section 1.3 (the header).

import { type FileHandle, constants, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { secretBytes } from '../../native/secret-bytes.js';
import { GatewayError } from '../errors.js';

/** `wopr`, and the version of what lies in the tables: a file with others is not read. */
export const APPLICATION_ID = 0x776f_7072;
export const FORMAT = 1;

const MAGIC = 'SQLite format 3\0';
const HEADER_BYTES = 100;
const FORMAT_AT = 60;
const APPLICATION_ID_AT = 68;
const OTHERS_MAY_ACCESS = 0o077;

/**
 * Makes sure that a store is at `path`, or an empty file where one can be made. Throws `ERR_STORE_OPEN` and
 * `ERR_STORE_FOREIGN`.
 */
export async function preparePlace(path: string, create: boolean): Promise<void> {
  let file: FileHandle | undefined;
  try {
    // What is a pipe keeps nobody waiting.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' && create) return undefined;
        throw error;
      },
    );
    if (file) await requireOurs(path, file);
    else await make(path);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('ERR_STORE_OPEN', `${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    await file?.close();
  }
}

async function make(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // Of two that make it at once one does.
  const made = await open(path, 'a', 0o600);
  await made.close();
}

async function requireOurs(path: string, file: FileHandle): Promise<void> {
  const stats = await file.stat();
  if (!stats.isFile()) throw refused(path, stats.isDirectory() ? 'it is a folder' : 'it is no file');
  if ((stats.mode & OTHERS_MAY_ACCESS) !== 0)
    throw refused(path, 'others than its owner may access it, and it may hold keys: chmod 600');
  // What was about to be made when its maker died.
  if (stats.size === 0) return;
  const header = secretBytes(HEADER_BYTES);
  const view = new DataView(header.buffer);
  const { bytesRead } = await file.read(header, 0, HEADER_BYTES, 0);
  if (bytesRead < HEADER_BYTES || String.fromCharCode(...header.subarray(0, MAGIC.length)) !== MAGIC)
    throw foreign(path, 'it is no store of peers, or its beginning is damaged');
  if (view.getUint32(APPLICATION_ID_AT) !== APPLICATION_ID)
    throw foreign(path, 'it is the database of another program, or its beginning is damaged');
  const format = view.getUint32(FORMAT_AT);
  if (format !== FORMAT) throw foreign(path, `it has format ${format}, and this version knows ${FORMAT}`);
}

function refused(path: string, problem: string): GatewayError {
  return new GatewayError('ERR_STORE_OPEN', `${path} cannot be the store of peers: ${problem}`);
}

function foreign(path: string, problem: string): GatewayError {
  return new GatewayError('ERR_STORE_FOREIGN', `${path} cannot be read: ${problem}`);
}
