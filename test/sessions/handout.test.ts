import { describe, expect, it } from 'vitest';
import type { DeviceEvent } from '../../sessions/events.js';
import type { Stranger } from '../../sessions/admissions.js';
import { Handout } from '../../sessions/handout.js';

const event = (attempt: number): DeviceEvent => ({
  type: 'handshakeInitiated',
  peer: new Uint8Array(32),
  attempt,
});

/** What is handed out, events by their number and packets by their first byte; `act` is called with each. */
function handout(act: (told: string, handout: Handout) => void = () => {}) {
  const told: string[] = [];
  const tell = (what: string) => {
    told.push(what);
    act(what, it);
  };
  const it: Handout = new Handout(
    { deliverPacket: (bytes, at) => tell(`packet ${bytes[at]}`) },
    each => tell(`event ${'attempt' in each ? each.attempt : '?'}`),
    stranger => tell(`question ${stranger.id}`),
  );
  const packet = (number: number) => it.packet(Uint8Array.of(0, number), 1, 1, new Uint8Array(32), 0);
  return { it, told, packet };
}

describe('what a turn hands out', () => {
  it('waits for its end, and goes out once, in its order', () => {
    const { it: out, told, packet } = handout();
    out.event(event(1));
    packet(2);
    out.event(event(3));
    expect(told).toEqual([]);
    out.deliver();
    out.deliver();
    expect(told).toEqual(['event 1', 'packet 2', 'event 3']);
    // Places are used again, for whatever comes.
    out.question({ id: 'who' } as Stranger);
    packet(4);
    out.event(event(5));
    out.deliver();
    expect(told.slice(3)).toEqual(['question who', 'packet 4', 'event 5']);
    packet(6);
    out.deliver();
    expect(told.at(-1)).toBe('packet 6');
  });

  it('goes out before what a call from there brings about, and that before the call returns', () => {
    const { told, ...out } = handout((what, it) => {
      if (what !== 'packet 1') return;
      it.event(event(9));
      it.deliver();
      expect(told).toEqual(['packet 1', 'packet 2', 'event 9']);
    });
    out.packet(1);
    out.packet(2);
    out.it.deliver();
    expect(told).toEqual(['packet 1', 'packet 2', 'event 9']);
  });

  it('goes out to everybody, though some throw; the first error is thrown then', () => {
    const {
      it: out,
      told,
      packet,
    } = handout(what => {
      if (what !== 'packet 3') throw new Error(`not ${what}`);
    });
    packet(1);
    packet(2);
    packet(3);
    expect(() => out.deliver()).toThrow('not packet 1');
    expect(told).toEqual(['packet 1', 'packet 2', 'packet 3']);
  });
});
