// Where `wg` looks for a device's socket.

export const SOCKET_FOLDER = '/var/run/wireguard';

export function socketPath(interfaceName: string, folder = SOCKET_FOLDER): string {
  return `${folder}/${interfaceName}.sock`;
}
