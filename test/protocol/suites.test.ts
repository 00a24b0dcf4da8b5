import { describe, expect, it } from 'vitest';
import { type Suite, TAG_BYTES } from '../../protocol/suite.js';
import { counting, hex, suites, toHex } from '../support/suites.js';

// RFC 8439 A.5. Its nonce begins with four zero bytes, as ours does.
const RFC8439_A5 = {
  key: hex('1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0'),
  counterLow: 0x04030201,
  counterHigh: 0x08070605,
  aad: hex('f33388860000000000004e91'),
  plaintext: new TextEncoder().encode(
    'Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or ' +
      'obsoleted by other documents at any time. It is inappropriate to use Internet-Drafts as reference ' +
      'material or to cite them other than as /\u201cwork in progress./\u201d',
  ),
  sealed: hex(`
    64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0
    bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855
    9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e9
    9040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a
    0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130
    305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b
    eead9d67890cbb22392336fea1851f38`),
};

// draft-irtf-cfrg-xchacha-03, A.3.1.
const XCHACHA = {
  key: hex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
  nonce: hex('404142434445464748494a4b4c4d4e4f5051525354555657'),
  aad: hex('50515253c0c1c2c3c4c5c6c7'),
  plaintext: new TextEncoder().encode(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen " +
      'would be it.',
  ),
  sealed: hex(`
    bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39
    ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9
    21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49`),
};

// RFC 7748 5.2: scalar, u, result.
const RFC7748_5_2 = [
  [
    'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
    'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
    'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
  ],
  [
    '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
    'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
    '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
  ],
].map(row => row.map(hex));

// All u coordinates whose order divides 8, and the two of these that have a second encoding above the prime.
const LOW_ORDER_POINTS = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(hex);

// What the reference implementation answers (Python's hashlib): BLAKE2s-128 of `length` counting bytes, keyed with
// the counting bytes 0..31 and 0..15.
const KEYED_BLAKE2S_128: [length: number, key32: string, key16: string][] = [
  [0, '9536f9b267655743dee97b8a670f9f53', 'af4e5d3bb230e9ff9096ca6f7c501f76'],
  [1, '13bacfb85b48a1223c595f8c1e7e82cb', '881e42e7bb358082637c0a0fd7ec6c2f'],
  [63, 'ece382a8bd5018f1de5da44b72cea75b', '2151a1ac11ef2763a427614c612b3de0'],
  [64, 'f1efa90d2547036841ecd3627fafbc36', 'dd55c51c98f8ab96ed272882941f0b6a'],
  [65, '811ff8686d23a435ecbd0bdafcd27b1b', '9018c671bb7e94a6d540a91765bbecad'],
  [116, '072e94ffbfc684bd8ab2a1b9dade2fd5', 'b9b1bbba1b59e4349d1018f97d243fca'],
  [132, '6d19534b4c332741c8ddd79a9644de2d', 'b03d1196bdcfaad40f911db86b79ac7e'],
  [255, 'cd075928ab7e6883e697fe7fd3ac43ee', 'b2953795123bd6b890ef3b6fa8b9bae2'],
];

const BLAKE2S: [length: number, hash: string][] = [
  [0, '69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9'],
  [1, 'e34d74dbaf4ff4c6abd871cc220451d2ea2648846c7757fbaac82fe51ad64bea'],
  [64, '56f34e8b96557e90c1f24b52d0c89d51086acf1b00f634cf1dde9233b8eaaa3e'],
  [65, '1b53ee94aaf34e4b159d48de352c7f0661d0a40edff95a0b1639b4090e974472'],
  [255, 'f03f5789d3336b80d002d59fdf918bdb775b00956ed5528e86aa994acb38fe2d'],
];

const HMAC_BLAKE2S: [key: Uint8Array, message: Uint8Array, mac: string][] = [
  [counting(32), hex('01'), '0eb5b63e94eb0ee56be66329386c25cca6d38e699ce487595a1bfa66e6968f35'],
  [counting(32), counting(200), '543eec9b22646365ef782d72dae137cc761d018005f8d33d0f20bfbd01e62974'],
  [counting(100), hex('616263'), 'c1b751501db12b753069a918627b623179be55c8cc7ca5c4e14bdf32274ac656'],
  [hex(''), hex(''), 'eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd'],
];

function sharedSecret(suite: Suite, privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const out = new Uint8Array(32);
  expect(suite.sharedSecret(privateKey, publicKey, out)).toBe(true);
  return out;
}

function hash(suite: Suite, ...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(32);
  suite.hash(out, ...parts);
  return out;
}

/** RFC 2104, from its definition: a block of BLAKE2s has 64 bytes. */
function hmacByDefinition(suite: Suite, key: Uint8Array, message: Uint8Array): Uint8Array {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? hash(suite, key) : key);
  const inner = hash(
    suite,
    block.map(byte => byte ^ 0x36),
    message,
  );
  return hash(
    suite,
    block.map(byte => byte ^ 0x5c),
    inner,
  );
}

describe.each(suites.map(suite => [suite.name, suite] as const))('the %s suite', (_, suite) => {
  it('seals and opens RFC 8439 A.5 in place, and touches nothing beside it', () => {
    const { key, counterLow, counterHigh, aad, plaintext, sealed } = RFC8439_A5;
    for (const offset of [0, 1, 16]) {
      const buffer = new Uint8Array(offset + sealed.length + 9).fill(0xee);
      buffer.set(plaintext, offset);
      suite.seal(key, counterLow, counterHigh, buffer, offset, plaintext.length, aad);
      expect(toHex(buffer.subarray(offset, offset + sealed.length))).toBe(toHex(sealed));
      expect(suite.open(key, counterLow, counterHigh, buffer, offset, sealed.length, aad)).toBe(true);
      expect(toHex(buffer.subarray(offset, offset + plaintext.length))).toBe(toHex(plaintext));
      expect([...buffer.subarray(0, offset)].every(byte => byte === 0xee)).toBe(true);
      expect([...buffer.subarray(offset + sealed.length)].every(byte => byte === 0xee)).toBe(true);
    }
  });

  it('accepts no sealed message with a flipped bit, and no other counter or associated data', () => {
    const { key, counterLow, counterHigh, aad, sealed } = RFC8439_A5;
    const opens = (message: Uint8Array, low = counterLow, high = counterHigh, data = aad) =>
      suite.open(key, low, high, message.slice(), 0, message.length, data);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const forged = sealed.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      expect(opens(forged)).toBe(false);
    }
    expect(opens(sealed, counterLow ^ 1)).toBe(false);
    expect(opens(sealed, counterLow, (counterHigh ^ 0x8000_0000) >>> 0)).toBe(false);
    expect(opens(sealed, counterLow, counterHigh, aad.subarray(1))).toBe(false);
    expect(opens(sealed.subarray(0, -1))).toBe(false);
    // The control: what was not touched opens.
    expect(opens(sealed)).toBe(true);
  });

  it('seals and opens an empty message, with and without associated data', () => {
    const key = counting(32);
    for (const aad of [undefined, hex(''), counting(32)]) {
      const buffer = new Uint8Array(TAG_BYTES);
      suite.seal(key, 0, 0, buffer, 0, 0, aad);
      expect(suite.open(key, 0, 0, buffer, 0, TAG_BYTES, aad)).toBe(true);
      buffer[15] ^= 0x80;
      expect(suite.open(key, 0, 0, buffer, 0, TAG_BYTES, aad)).toBe(false);
    }
  });

  it('uses the place it is given, not one it was given before', () => {
    const key = counting(32);
    const memories = [new ArrayBuffer(256), new ArrayBuffer(256)];
    // Which memory, where its view begins, the offset within the view, the length of the plaintext.
    const places = [
      [0, 0, 16, 48],
      [0, 0, 16, 48],
      [0, 32, 16, 48],
      [0, 16, 32, 48],
      [0, 16, 32, 40],
      [1, 16, 32, 40],
      [1, 16, 48, 40],
      [0, 0, 16, 48],
    ];
    const alone = places.map(([, , , length], counter) => {
      const buffer = new Uint8Array(length + TAG_BYTES);
      suite.seal(key, counter, 0, buffer, 0, length);
      return toHex(buffer);
    });
    const inPlace = places.map(([memory, at, offset, length], counter) => {
      const all = new Uint8Array(memories[memory]).fill(0);
      suite.seal(key, counter, 0, all.subarray(at), offset, length);
      return toHex(all.slice(at + offset, at + offset + length + TAG_BYTES));
    });
    expect(inPlace).toEqual(alone);
    const opened = places.map(([memory, at, offset, length], counter) => {
      const all = new Uint8Array(memories[memory]).fill(0xee);
      all.set(hex(alone[counter]), at + offset);
      const isAuthentic = suite.open(key, counter, 0, all.subarray(at), offset, length + TAG_BYTES);
      return isAuthentic && all.subarray(at + offset, at + offset + length).every(byte => byte === 0);
    });
    expect(opened).toEqual(places.map(() => true));
  });

  it('seals and opens the XChaCha20-Poly1305 vector of the draft, and nothing that was changed', () => {
    const { key, nonce, aad, plaintext, sealed } = XCHACHA;
    expect(toHex(suite.sealX(key, nonce, plaintext, aad))).toBe(toHex(sealed));
    expect(suite.openX(key, nonce, sealed, aad)).toEqual(plaintext);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const forged = sealed.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      expect(suite.openX(key, nonce, forged, aad)).toBeUndefined();
    }
    expect(suite.openX(key, nonce, sealed, aad.subarray(1))).toBeUndefined();
  });

  it('multiplies as RFC 7748 5.2 and 6.1 say', () => {
    for (const [scalar, u, result] of RFC7748_5_2) {
      expect(toHex(sharedSecret(suite, scalar, u))).toBe(toHex(result));
    }
    const alice = hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a');
    const bob = hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    const publicKey = (privateKey: Uint8Array) => {
      const out = new Uint8Array(32);
      suite.publicKey(privateKey, out);
      return out;
    };
    expect(toHex(publicKey(alice))).toBe('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
    expect(toHex(publicKey(bob))).toBe('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
    const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
    expect(toHex(sharedSecret(suite, alice, publicKey(bob)))).toBe(shared);
    expect(toHex(sharedSecret(suite, bob, publicKey(alice)))).toBe(shared);
  });

  // The reference would take seconds; that all agree is a test of its own.
  if (suite.name !== 'noble')
    it('reaches the RFC 7748 5.2 value after 1,000 iterations', () => {
      let k = hex('0900000000000000000000000000000000000000000000000000000000000000');
      let u = k;
      for (let i = 1; i <= 1000; i++) {
        [k, u] = [sharedSecret(suite, k, u), k];
        if (i === 1)
          expect(toHex(k)).toBe('422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079');
      }
      expect(toHex(k)).toBe('684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51');
    });

  it('refuses every low-order point, however it is encoded, and leaves zeros', () => {
    for (const point of LOW_ORDER_POINTS) {
      for (const highBit of [0, 0x80]) {
        const encoded = point.slice();
        encoded[31] |= highBit;
        const out = new Uint8Array(32).fill(0xff);
        expect(suite.sharedSecret(counting(32), encoded, out), toHex(encoded)).toBe(false);
        expect(out).toEqual(new Uint8Array(32));
      }
    }
  });

  it('hashes as RFC 7693 says, in one part or in many', () => {
    expect(toHex(hash(suite, new TextEncoder().encode('abc')))).toBe(
      '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982',
    );
    for (const [length, expected] of BLAKE2S) {
      const message = counting(length);
      const half = length >> 1;
      expect(toHex(hash(suite, message))).toBe(expected);
      expect(toHex(hash(suite, message.subarray(0, half), hex(''), message.subarray(half)))).toBe(expected);
    }
  });

  it('makes the keyed hashes of the reference implementation, at any place of a message', () => {
    const keys = [counting(32), counting(16)];
    for (const [length, ...expected] of KEYED_BLAKE2S_128) {
      const message = new Uint8Array(length + 17);
      message.set(counting(length), 1);
      const body = message.subarray(1, 1 + length);
      const out = message.subarray(1 + length);
      for (const [i, key] of keys.entries()) {
        suite.mac(out, key, body);
        expect(toHex(out)).toBe(expected[i]);
        suite.mac(out, key, body.subarray(0, 3), body.subarray(3));
        expect(toHex(out)).toBe(expected[i]);
      }
    }
  });

  it('makes HMAC-BLAKE2s as its definition and the reference implementation say', () => {
    for (const [key, message, expected] of HMAC_BLAKE2S) {
      const out = new Uint8Array(32);
      suite.hmac(out, key, message);
      expect(toHex(out)).toBe(expected);
      expect(toHex(hmacByDefinition(suite, key, message))).toBe(expected);
      suite.hmac(out, key, message.subarray(0, 1), message.subarray(1));
      expect(toHex(out)).toBe(expected);
    }
  });

  it('may write a hash over one of its inputs', () => {
    const expected = hash(suite, counting(32), counting(5));
    const state = counting(32);
    suite.hash(state, state, counting(5));
    expect(state).toEqual(expected);

    const mac = new Uint8Array(32);
    suite.hmac(mac, counting(32), counting(32));
    const key = counting(32);
    suite.hmac(key, key, key);
    expect(key).toEqual(mac);
  });

  it('takes keys from shared memory and writes into it', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(512)).subarray(8);
    const place = (bytes: Uint8Array, at: number) => {
      shared.set(bytes, at);
      return shared.subarray(at, at + bytes.length);
    };
    const { key, counterLow, counterHigh, aad, sealed } = RFC8439_A5;
    expect(suite.open(place(key, 0), counterLow, counterHigh, sealed.slice(), 0, sealed.length, aad)).toBe(
      true,
    );
    expect(suite.openX(place(XCHACHA.key, 0), XCHACHA.nonce, XCHACHA.sealed, XCHACHA.aad)).toBeDefined();

    const [scalar, u, result] = RFC7748_5_2[0];
    const out = shared.subarray(64, 96);
    expect(suite.sharedSecret(place(scalar, 0), place(u, 32), out)).toBe(true);
    expect(toHex(out)).toBe(toHex(result));
    const publicKey = new Uint8Array(32);
    suite.publicKey(scalar, publicKey);
    suite.publicKey(place(scalar, 0), out);
    expect(toHex(out)).toBe(toHex(publicKey));

    suite.hash(out, place(counting(65), 128));
    expect(toHex(out)).toBe(BLAKE2S[3][1]);
    suite.mac(out.subarray(0, 16), place(counting(32), 0), place(counting(116), 128));
    expect(toHex(out.subarray(0, 16))).toBe(KEYED_BLAKE2S_128[5][1]);
    suite.hmac(out, place(counting(32), 0), place(counting(200), 128));
    expect(toHex(out)).toBe(HMAC_BLAKE2S[1][2]);
  });

  it('throws for wrong lengths, and does not pass them off as a wrong tag or a bad point', () => {
    const key = counting(32);
    const short = counting(31);
    const buffer = new Uint8Array(64);
    const misuse: (() => unknown)[] = [
      () => suite.seal(short, 0, 0, buffer, 0, 8),
      () => suite.seal(key, 0, 0, buffer, 0, 49),
      () => suite.seal(key, 0, 0, buffer, -1, 8),
      () => suite.seal(key, 0, 0, buffer, 0.5, 8),
      () => suite.seal(key, 0, 0, buffer, 0, Number.NaN),
      () => suite.open(short, 0, 0, buffer, 0, 32),
      () => suite.open(key, 0, 0, buffer, 0, 15),
      () => suite.open(key, 0, 0, buffer, 33, 32),
      () => suite.sealX(short, XCHACHA.nonce, buffer, buffer),
      () => suite.sealX(key, counting(12), buffer, buffer),
      () => suite.openX(short, XCHACHA.nonce, buffer, buffer),
      () => suite.openX(key, counting(12), buffer, buffer),
      () => suite.openX(key, XCHACHA.nonce, counting(15), buffer),
      () => suite.publicKey(short, new Uint8Array(32)),
      () => suite.publicKey(key, new Uint8Array(31)),
      () => suite.sharedSecret(short, key, new Uint8Array(32)),
      () => suite.sharedSecret(key, short, new Uint8Array(32)),
      () => suite.sharedSecret(key, key, new Uint8Array(33)),
      () => suite.hash(new Uint8Array(16), key),
      () => suite.mac(new Uint8Array(32), key, key),
      () => suite.mac(new Uint8Array(16), counting(33), key),
      () => suite.mac(new Uint8Array(16), hex(''), key),
      () => suite.hmac(new Uint8Array(16), key, key),
    ];
    for (const [i, misused] of misuse.entries()) {
      expect(misused, `case ${i}`).toThrow(expect.objectContaining({ code: 'ERR_LENGTH' }));
    }
  });

  it('refuses counter words that would be cut to ones used before', () => {
    const key = counting(32);
    const buffer = new Uint8Array(64);
    for (const word of [2 ** 32, -1, 0.5, Number.NaN]) {
      const refused = expect.objectContaining({ code: 'ERR_COUNTER' });
      expect(() => suite.seal(key, word, 0, buffer, 0, 8)).toThrow(refused);
      expect(() => suite.seal(key, 0, word, buffer, 0, 8)).toThrow(refused);
      expect(() => suite.open(key, word, 0, buffer, 0, 32)).toThrow(refused);
    }
    expect(buffer).toEqual(new Uint8Array(64));
  });
});
