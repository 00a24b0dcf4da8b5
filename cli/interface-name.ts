// The name of an interface, as a word on the command line.

/** The kernel takes no other name: 1 to 15 bytes, without blank, slash and colon. */
export const INTERFACE_NAME_RULE = '1 to 15 bytes, without blanks, slashes and colons';

/** As `dev_valid_name` of Linux. */
export function isInterfaceName(text: string): boolean {
  return /^[^\s/:\0]+$/.test(text) && Buffer.byteLength(text) <= 15 && text !== '.' && text !== '..';
}
