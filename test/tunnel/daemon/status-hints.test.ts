import { describe, expect, test } from 'vitest';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { hintsFor } from '../../../tunnel/daemon/status-hints.js';
import { deviceStatus, keyText, noDrops, peerStatus } from './status.js';

describe('hintsFor', () => {
  const hints = (change: Partial<DeviceStatus>) => hintsFor(deviceStatus(change)).join('\n');
  // What each trouble looks like from here, as a real daemon shows it: see test/system/daemon/status.test.ts.
  const silent = peerStatus({ unanswered: 3 });

  test('what the daemon may do beyond its needs is named, and what it needs is not', () => {
    const may = (...capabilities: string[]) => hints({ privileges: { capabilities, noNewPrivileges: true } });
    const needed = ['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE', 'CAP_IPC_LOCK'];
    expect(may(...needed)).not.toMatch(/CAP_/);
    expect(may(...needed, 'CAP_SYS_RAWIO', 'CAP_SYSLOG')).toContain('needs: CAP_SYS_RAWIO, CAP_SYSLOG');
    expect(may(...needed, 'CAP_DAC_READ_SEARCH')).toMatch(/CAP_DAC_READ_SEARCH is kept/);
    expect(hints({ privileges: { capabilities: [], noNewPrivileges: false } })).toContain('no_new_privs');
    expect(hints({ privileges: null })).not.toContain('no_new_privs');
  });

  test('a gateway that is full, or whose store fails, is said to be so', () => {
    const refused = { revoked: 1, notEnrolled: 1, addressTaken: 1, full: 0, storeFailed: 0 };
    const counts = { present: 1, provisional: 1, awaited: 1, lookups: 1, admitted: 1, unproven: 1 };
    const gateway = (change: Partial<typeof refused>, known: number | null = 1) =>
      hints({
        gateway: { ...counts, evicted: 1, expired: 1, known, refused: { ...refused, ...change } },
      });
    expect(gateway({})).toBe('');
    expect(gateway({}, null)).toBe('');
    expect(gateway({ full: 1 })).toContain('MaxPeers');
    expect(gateway({ storeFailed: 2 })).toContain('has failed 2 times');
    expect(gateway({ storeFailed: 2 }, null)).toContain('gives no answer');
  });

  test('has nothing to say of a device at rest with an immediate source', () => {
    expect(hints({})).toBe('');
  });

  test('says what is wrong, and only then', () => {
    expect(hints({ publicKey: null })).toContain('no private key');
    expect(hints({ held: true })).toContain('set a new private key');
    expect(hints({ protection: 'none' })).toContain('nothing tells of a fork');
    expect(hints({ protection: 'delayed' })).toContain('HoldBackMs');
    expect(hints({ protection: 'delayed', holdBackMs: 300 })).toBe('');
    expect(hints({ protection: 'delayed', holdBackMs: 1 })).toContain('1 ms is less than has been measured');
    expect(hints({ clockBehindMs: 3_599_600 })).toContain('left the clock 3600 s behind');
    const keyMemory = { bytes: 4_096, lockedBytes: 0, refused: 'mlock: ENOMEM' };
    expect(hints({ keyMemory })).toContain('kept out of swap and core dumps: mlock: ENOMEM');
    expect(hints({ waitingForFreshness: 1 })).toContain('handshakes wait');
    expect(hints({ lastTripwire: { peer: keyText(9), at: 1 } })).toContain(keyText(9));
    const broken = {
      name: 'file:/x',
      timing: 'delayed',
      uniqueness: 'unique',
      readable: false,
      reason: 'gone',
    } as const;
    expect(hints({ sources: [broken] })).toContain('file:/x does not work: gone');
  });

  test('of a clone, what it waits for; and not that it wants a key', () => {
    const enrolment = { method: 'exec', stage: 'asking', addresses: [], since: null, parent: null } as const;
    const waiting = {
      held: true,
      publicKey: null,
      enrolment: { ...enrolment, waitsFor: '/e, which took too long' },
    };
    expect(hintsFor(deviceStatus(waiting))).toEqual([
      'silent until it is enrolled: it waits for /e, which took too long',
    ]);
    expect(
      hintsFor(deviceStatus({ enrolment: { ...enrolment, stage: 'enrolled', waitsFor: null } })),
    ).toEqual([]);
  });

  test('suspects the clock when calls after a fork stay without an answer', () => {
    const called = (unanswered: number) => [peerStatus({ unanswered, recovery: { backAfterMs: null } })];
    const silence: Partial<DeviceStatus> = {
      forks: 1,
      epochs: [{ epoch: 2, at: 1, cause: 'fork' }],
      recovery: { epoch: 2, ageMs: 9, called: 2, back: 0, lastBackMs: null },
      peers: called(3),
    };
    const suspicion = "the clone's clock may be behind";
    expect(hints(silence)).toContain(suspicion);
    expect(hints({ ...silence, epochs: [] })).not.toContain(suspicion);
    expect(hints({ ...silence, peers: called(2) })).not.toContain(suspicion);
    expect(hints({ ...silence, peers: [silent] })).not.toContain(suspicion);
    const oneBack = { epoch: 2, ageMs: 9, called: 2, back: 1, lastBackMs: 5 };
    expect(hints({ ...silence, recovery: oneBack })).not.toContain(suspicion);
  });

  test('does not suspect the clock of what stays without an answer after a drill, however many forks there were', () => {
    const drilled: Partial<DeviceStatus> = {
      forks: 1,
      drills: 1,
      epochs: [
        { epoch: 2, at: 1, cause: 'fork' },
        { epoch: 3, at: 2, cause: 'drill' },
      ],
      recovery: { epoch: 3, ageMs: 9, called: 1, back: 0, lastBackMs: null },
      peers: [peerStatus({ unanswered: 3, recovery: { backAfterMs: null } })],
    };
    expect(hints(drilled)).not.toContain("the clone's clock may be behind");
  });

  test('a peer that answers nothing: what such silence may mean, with the key that it must have', () => {
    expect(hints({ peers: [silent] })).toMatch(
      new RegExp(`^peer ${escaped(silent.publicKey)} answered no handshake: .*${escaped(keyText(1))}.*clock`),
    );
    expect(hints({ peers: [peerStatus({ unanswered: 2 })] })).toBe('');
  });

  test('answers that do not authenticate: the preshared key', () => {
    const drops = { ...noDrops(), badTag: 3 };
    expect(hints({ peers: [silent], drops })).toContain(
      '3 times an answer did not authenticate: most likely its PresharedKey',
    );
    expect(hints({ peers: [peerStatus()], drops }), 'a stray one while all is well').toBe('');
  });

  test('a peer that calls and completes nothing: its preshared key, or our answers', () => {
    expect(hints({ peers: [peerStatus({ rxBytes: 444 })] })).toContain(
      'calls us, and completes no handshake',
    );
    expect(hints({ peers: [peerStatus({ rxBytes: 444, lastHandshakeAt: 5 })] })).toBe('');
    expect(hints({ peers: [peerStatus({ rxBytes: 148 })] })).toBe('');
  });

  test('a firewall of this machine', () => {
    expect(hints({ peers: [silent], lastUdpError: 'EPERM' })).toContain('a firewall of this machine refuses');
    expect(hints({ peers: [silent], lastUdpError: 'ENETUNREACH' })).toContain('last with ENETUNREACH');
    expect(hints({ lastUdpError: 'ENETUNREACH' })).toBe('');
  });

  test('two machines under one key', () => {
    expect(hints({ peers: [peerStatus({ moves: 4 })] })).toContain('two machines use its key');
    expect(hints({ peers: [peerStatus({ moves: 3 })] })).toBe('');
    expect(hints({ drops: { ...noDrops(), replayedInitiation: 3 } })).toContain(
      'its clock went back, or two machines',
    );
  });

  test('handshakes for another key, a peer without an endpoint, a link that is down', () => {
    expect(hints({ drops: { ...noDrops(), badMac1: 3 } })).toContain(`than ours, ${keyText(1)}`);
    const drops = { ...noDrops(), noEndpoint: 1 };
    expect(hints({ drops, peers: [peerStatus({ endpoint: null })] })).toContain('has no Endpoint');
    expect(hints({ drops, peers: [peerStatus()] })).toBe('');
    expect(hints({ linkState: 'down' })).toContain('ip link set wg0 up');
  });

  test('many peers in one trouble are one sentence', () => {
    const peers = Array.from({ length: 50 }, (_, i) => peerStatus({ publicKey: keyText(i), unanswered: 9 }));
    expect(hints({ peers }).split('\n')).toHaveLength(1);
    expect(hints({ peers })).toContain('and 47 more: answered no handshake');
  });
});

const escaped = (text: string) => text.replaceAll(/[+/]/g, String.raw`\$&`);
