// Ports by the names of services, which Node cannot look up: it asks the system's resolver for hosts alone.
// Read on: services(5), getservbyname(3).

/** The UDP port of a service or of one of its other names, as this machine has it; `undefined` when it has none. */
export function portOfService(name: string, file = systemFile()): number | undefined {
  let text: string;
  try {
    // Asked for at run time: a page reads configurations too, and has no names.
    text = process.getBuiltinModule('node:fs').readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  for (const line of text.split('\n')) {
    const [service, at, ...aliases] = line.split('#', 1)[0].trim().split(/\s+/);
    if (service !== name && !aliases.includes(name)) continue;
    const port = /^(\d{1,5})\/udp$/.exec(at ?? '')?.[1];
    if (port !== undefined) return Number(port);
  }
  return undefined;
}

function systemFile(): string {
  if (typeof process === 'undefined' || process.platform !== 'win32') return '/etc/services';
  return `${process.env['SystemRoot'] ?? 'C:\\Windows'}\\System32\\drivers\\etc\\services`;
}
