// The pictures that machines of the demonstration send: grey, 96 by 64, drawn here, and cut into packets.
// Promises: the same bytes in each run. `standby` is public: what each such machine sends when it has nothing
// to show.

import { innerBytes, innerPacketOf } from './packet.js';

export const WIDTH = 96;
export const HEIGHT = 64;
export const PIXELS = WIDTH * HEIGHT;
const PIECE_BYTES = 1_024;
/** Packets of a picture. */
export const PIECES = PIXELS / PIECE_BYTES;
/** Before a piece: its number. */
const PIECE_HEADER_BYTES = 1;

/** Row by row, a byte for each pixel: 0 is black. */
export type Picture = Uint8Array;

export function picturePackets(source: string, destination: string, picture: Picture): Uint8Array[] {
  return Array.from({ length: PIECES }, (_, i) => {
    const piece = picture.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES);
    return innerPacketOf(source, destination, Uint8Array.of(i, ...piece));
  });
}

/** The pixels in a packet; `undefined` if it has none. */
export function pieceOf(
  packet: Uint8Array,
): { readonly at: number; readonly pixels: Uint8Array } | undefined {
  const bytes = innerBytes(packet);
  if (bytes.length !== PIECE_HEADER_BYTES + PIECE_BYTES || bytes[0] >= PIECES) return undefined;
  return { at: bytes[0] * PIECE_BYTES, pixels: bytes.subarray(PIECE_HEADER_BYTES) };
}

/** Evening at a harbour. */
export function harbour(): Picture {
  return draw((x, y) => {
    const ridge = (height: number, length: number, at: number) =>
      y > height - 5 * Math.sin((x + at) / length) - 2 * Math.sin((x + at) / 3.7);
    if (y > 50)
      return (
        60 +
        26 * Math.sin(y * 1.9 + Math.sin(x / 4) * 2) * ((y - 46) / 18) +
        (Math.abs(x - 70) < y - 47 ? 70 : 0)
      );
    const hull = y > 43 && y < 50 && x > 18 + (y - 43) && x < 46 - (y - 43);
    const sail =
      y > 20 && y <= 42 && ((x >= 33 && x < 33 + (y - 20) * 0.5) || (x <= 31 && x > 31 - (y - 24) * 0.4));
    if (hull) return 24;
    if (sail) return 235;
    const moon = Math.hypot(x - 70, y - 15);
    if (moon < 9)
      return (
        250 - 22 * Number(Math.hypot(x - 67, y - 13) < 2.5) - 18 * Number(Math.hypot(x - 73, y - 18) < 2)
      );
    if (ridge(47, 9, 4)) return 38;
    if (ridge(40, 13, 30)) return 66;
    return 96 + y * 1.6 + Math.max(0, 40 - moon * 1.6);
  });
}

/** What nobody was to see: a face, a name and a number. */
export function badge(): Picture {
  const lines = [
    { text: 'A.TURING', x: 44, y: 14 },
    { text: 'PIN 1912', x: 44, y: 27 },
    { text: 'NO. 4711', x: 44, y: 40 },
  ];
  const ink = new Set(
    lines.flatMap(({ text, x, y }) => inkOf(text).map(([dx, dy]) => (y + dy) * WIDTH + x + dx)),
  );
  return draw((x, y) => {
    if (x < 3 || y < 3 || x > 92 || y > 60) return 58;
    if (ink.has(y * WIDTH + x)) return 22;
    const frame = x > 7 && x < 39 && y > 8 && y < 56;
    if (!frame)
      return y > 52 && x > 43 && x < 88 ? (((x >> 1) * (x >> 1) + (x >> 1)) % 5 < 2 ? 30 : 222) : 222;
    const head = Math.hypot((x - 23) / 9, (y - 25) / 11);
    const isEye = Math.hypot(Math.abs(x - 23) - 4, y - 23) < 1.4;
    const isMouth = y === 31 && Math.abs(x - 23) < 4;
    if (isEye || isMouth) return 40;
    if (head < 1 && y > 17 - Math.abs(x - 23) / 3) return 190 - head * 36 + (x - 23);
    if (Math.hypot((x - 23) / 10.5, (y - 22) / 11.5) < 1 && y < 26) return 70;
    if (Math.hypot((x - 23) / 16, (y - 56) / 19) < 1) return 92 + (Math.abs(x - 23) < 2 ? 60 : 0);
    return 140 - (y - 8) / 2;
  });
}

/** The test card. */
export function standby(): Picture {
  return draw((x, y) => {
    const ring = Math.hypot(x - 47.5, y - 31.5);
    if (ring < 27 && ring > 25) return 255;
    if (ring < 25)
      return y < 26 ? Math.floor((x - 22) / 6.5) * 32 : y < 38 ? ((x >> 1) & 1) * 255 : 255 - x * 2.6;
    return (((x >> 3) + (y >> 3)) & 1) * 60 + ((x + y) & 1) * 130 + 30;
  });
}

function draw(shade: (x: number, y: number) => number): Picture {
  return Uint8Array.from({ length: PIXELS }, (_, i) =>
    Math.max(0, Math.min(255, Math.round(shade(i % WIDTH, Math.floor(i / WIDTH))))),
  );
}

/** Letters of 4 by 7, each row as four bits. */
const LETTERS: Readonly<Record<string, string>> = {
  '0': '6999996',
  '1': '2622227',
  '2': '691248f',
  '4': '1359f11',
  '7': 'f112244',
  '9': '6997196',
  A: '6999f99',
  G: '698b996',
  I: '7222227',
  N: '99dbb99',
  O: '6999996',
  P: 'e99e888',
  R: 'e99ea99',
  T: 'f222222',
  U: '9999996',
  '.': '0000066',
  ' ': '0000000',
};

/** The pixels of a line, from its upper left corner. */
function inkOf(text: string): [number, number][] {
  return [...text].flatMap((letter, column) =>
    [...LETTERS[letter]].flatMap((row, y) =>
      [0, 1, 2, 3].flatMap((x): [number, number][] =>
        (Number.parseInt(row, 16) >> (3 - x)) & 1 ? [[column * 6 + x, y]] : [],
      ),
    ),
  );
}
