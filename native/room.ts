// Memory that does not move, for what is told by address where to write.
// Promises: its address is true, as rooms are made where memory is had, and cut from others; nobody can say one.
// Read on: native-memory.ts, which makes memory; sessions/device.ts `gatherDatagram`, which takes rooms.

/** A piece of memory that does not move, and its address. */
export class Room {
  /** Where `bytes` begin in the memory of the process. */
  readonly address: number;
  protected held: Uint8Array;

  protected constructor(bytes: Uint8Array, address: number) {
    this.held = bytes;
    this.address = address;
  }

  /** Memory that the engine does not move: of an ArrayBuffer that was made first, shared, or WebAssembly's. */
  static over(bytes: Uint8Array, system: { addressOf(bytes: Uint8Array): number }): Room {
    return new Room(bytes, system.addressOf(bytes));
  }

  get bytes(): Uint8Array {
    return this.held;
  }

  /** `bytes[start, start + length)`. Throws a `RangeError` when that lies outside. */
  part(start: number, length: number): Room {
    if (start < 0 || length < 0 || start + length > this.held.length) throw new RangeError('not in the room');
    return new Room(this.held.subarray(start, start + length), this.address + start);
  }
}

/** Bytes to seal, open or write: in a room, or where nobody has asked for their address. */
export type Memory = Uint8Array | Room;

export function bytesOf(memory: Memory): Uint8Array {
  return memory instanceof Room ? memory.bytes : memory;
}

/** 0 where it is not known. */
export function addressOf(memory: Memory): number {
  return memory instanceof Room ? memory.address : 0;
}
