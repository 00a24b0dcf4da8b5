// Whether a text is the address of a host: what `isIP` of `node:net` says, for a page has none.
// Read on: RFC 4291 section 2.2; test/native/ip-version.test.ts, which holds it against Node's.

const IPV4 = /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/;
const GROUP = /^[0-9a-f]{1,4}$/i;
const GROUPS = 8;
// As Node has it.
const ZONE = /^[0-9a-z.:-]+$/i;

/** 4 or 6 for the text of an address, with a zone or without, 0 for any other: as `isIP` of `node:net`. */
export function ipVersion(text: string): 0 | 4 | 6 {
  if (IPV4.test(text)) return 4;
  const [address, zone, ...more] = text.split('%');
  if (more.length > 0 || (zone !== undefined && !ZONE.test(zone))) return 0;
  const [head, tail, ...others] = address.split('::').map(part => (part === '' ? [] : part.split(':')));
  if (others.length > 0) return 0;
  const groups = tail ? [...head, ...tail] : head;
  // Four bytes with dots may stand for the last two groups.
  const hasDots = IPV4.test(groups.at(-1) ?? '') && (tail === undefined || tail.length > 0);
  if (!groups.slice(0, hasDots ? -1 : undefined).every(group => GROUP.test(group))) return 0;
  const count = groups.length + Number(hasDots);
  return (tail ? count < GROUPS : count === GROUPS) ? 6 : 0;
}
