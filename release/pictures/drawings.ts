// What docs/how-a-fork-breaks-a-vpn.md shows: the story in three drawings, then one for each step of the
// argument.
// Promises: nothing is measured and nothing is drawn by hand afterwards. The letters are those of the page: S
// is the instant of the snapshot.
// Read on: drawing.ts (the strokes), test/house/pictures.test.ts (what holds the page and the files
// together).

import { type Drawing, type Link, arrow, box, chain, chainCut, endOf, snapshot, words } from './drawing.js';

const STORY: readonly Drawing[] = [
  {
    name: 'two-clones',
    alt: 'A machine sends packets 6 and 7 under key K. It is saved, and started twice: both clones go on with packet 8 under key K, and say different things in it',
    height: 190,
    strokes: [
      words(20, 97, 'one machine', 'bold'),
      chain(125, 76, [['K, 6'], ['K, 7']]),
      snapshot(285, 40, 170, 'saved'),
      arrow(246, 92, 330, 50, 'a'),
      arrow(246, 92, 330, 140, 'b'),
      words(335, 55, 'clone A', 'a'),
      chain(400, 34, [['K, 8: pay Ann 10', 'a']]),
      words(335, 145, 'clone B', 'b'),
      chain(400, 124, [['K, 8: pay Bob 99', 'b']]),
      words(335, 100, 'one key, one counter, two messages', 'harm'),
    ],
  },
  {
    name: 'keystream',
    alt: 'Both clones XOR their message with the same keystream of key K and counter 8. XOR of the two ciphertexts is XOR of the two messages: the keystream is gone, and no key was needed',
    height: 190,
    strokes: [
      words(20, 41, 'clone A', 'a'),
      chain(100, 20, [['message A', 'a'], ['XOR keystream of K, 8'], ['ciphertext A', 'a']]),
      words(20, 95, 'clone B', 'b'),
      chain(100, 74, [['message B', 'b'], ['XOR keystream of K, 8'], ['ciphertext B', 'b']]),
      words(20, 151, 'on the wire', 'bold'),
      chain(120, 130, [
        ['ciphertext A XOR ciphertext B', 'harm'],
        ['message A XOR message B', 'harm'],
      ]),
    ],
  },
  {
    name: 'forgery',
    alt: 'Each tag is a polynomial of the message at r, plus s; both have the same r and s. Their difference has one unknown, r. Whoever solves it has r and s, and makes the tag of any message',
    height: 196,
    strokes: [
      words(20, 41, 'clone A', 'a'),
      chain(100, 20, [['tag A = hA(r) + s', 'a']]),
      words(20, 95, 'clone B', 'b'),
      chain(100, 74, [['tag B = hB(r) + s', 'b']]),
      arrow(250, 38, 330, 56),
      arrow(250, 88, 330, 66),
      box(335, 42, 295, ['tag A - tag B = hA(r) - hB(r)'], 'harm'),
      arrow(482, 76, 482, 130, 'harm'),
      box(335, 132, 295, ['r, then s, then the tag of', 'any message the attacker likes'], 'harm'),
    ],
  },
];

/** Of step 4. */
const BREATH: readonly Link[] = [
  ['read: epoch 4'],
  ['choose keypair'],
  ['copy, spend'],
  ['push, stamped 4', 'good'],
];

const STEPS: readonly Drawing[] = [
  {
    name: 'step-1-copy',
    alt: 'Step 1. The packet is copied from the memory of the caller into a buffer of our own before anything else. The memory of the caller may differ in each clone later, the copy made before S does not',
    height: 176,
    strokes: [
      chain(20, 20, [['memory of the caller'], ['copy'], ['a buffer of our own'], ['seal']]),
      arrow(90, 54, 90, 86),
      box(20, 88, 172, ['after S it may differ', 'in each clone'], 'harm'),
      arrow(370, 54, 370, 86, 'good'),
      box(290, 88, 250, ['what was copied before S', 'is the same in every clone'], 'good'),
      words(20, 163, 'So two clones that seal this packet under one counter seal the same bytes.', 'soft'),
    ],
  },
  {
    name: 'step-2-spend',
    alt: 'Step 2. The counter moves from 8 to 9 before the cipher sees 8. The wrong way round, a failure between sealing and counting would use 8 again',
    height: 160,
    strokes: [
      words(20, 41, 'as built', 'good'),
      chain(120, 20, [['counter 8 becomes 9', 'good'], ['seal under 8'], ['fails? 8 stays spent', 'good']]),
      words(20, 95, 'wrong', 'harm'),
      chain(120, 74, [['seal under 8'], ['fails, or is cut short', 'harm'], ['8 is used again', 'harm']]),
      words(20, 143, 'A spent counter is never handed out again, by nobody and for nothing.', 'soft'),
    ],
  },
  {
    name: 'step-3-stamp',
    alt: 'Step 3. Every keypair bears the epoch it was born in, here 4. A keypair of epoch 4 is used in epoch 4, and in epoch 5 it is not, even if it has not been erased yet',
    height: 160,
    strokes: [
      chain(20, 20, [['keypair, born in epoch 4'], ['this is epoch 4', 'good'], ['used', 'good']]),
      chain(20, 74, [
        ['keypair, born in epoch 4'],
        ['this is epoch 5', 'harm'],
        ['dead: a new handshake', 'good'],
      ]),
      words(20, 143, 'To count the epoch up by one ends every key at once, however many there are.', 'soft'),
    ],
  },
  {
    name: 'step-4-push',
    alt: 'Step 4. From reading the epoch to pushing the datagram with that epoch nothing else runs. The datagram has a copy of the key that its counter belongs to',
    height: 160,
    strokes: [
      chain(20, 34, BREATH),
      `<path class="stroke good" d="M20 76V84H${endOf(20, BREATH)}V76"/>`,
      words(
        (20 + endOf(20, BREATH)) / 2,
        106,
        'one breath: no await, nobody else runs in between',
        'good',
        'middle',
      ),
      words(
        20,
        143,
        'Stamp, key and counter of a datagram belong together, whatever is erased meanwhile.',
        'soft',
      ),
    ],
  },
  {
    name: 'step-5-look',
    alt: 'Step 5. The generation is read after sealing and before sending. If the snapshot falls before that look, each clone sees a new generation and discards. If it falls after, each clone sends the same bytes, a duplicate. Looked at before sealing only, two clones send two messages under one counter',
    height: 308,
    strokes: [
      words(20, 62, 'S before the look', 'bold'),
      chainCut(165, 42, [['copy, seal'], ['read: it is new', 'good'], ['zeroed: nothing leaves', 'good']], 1),
      words(20, 142, 'S after the look', 'bold'),
      chainCut(165, 122, [['copy, seal'], ['read: the same'], ['both send equal bytes', 'good']], 2),
      words(165, 176, 'A duplicate, which the peer drops. No second message.', 'soft'),
      words(20, 242, 'wrong: look first', 'harm'),
      chainCut(165, 222, [['read: the same'], ['copy, seal', 'harm'], ['A and B may differ', 'harm']], 1),
      words(20, 290, 'One key, one counter, two messages: what the ledger finds in the control.', 'harm'),
    ],
  },
  {
    name: 'step-6-response',
    alt: 'Step 6. A machine sends an initiation and is saved before the response comes. Both clones get that response. If both took it, both would derive the same transport keys. The initiation bears epoch 4, the clones live in epoch 5: neither takes it',
    height: 222,
    strokes: [
      chain(20, 76, [['initiation sent\nin epoch 4']]),
      snapshot(180, 40, 190, 'S'),
      arrow(152, 92, 225, 50, 'a'),
      arrow(152, 92, 225, 146, 'b'),
      chain(228, 34, [
        ['A: the response', 'a'],
        ['epoch 5 is not 4: dropped', 'good'],
      ]),
      chain(228, 130, [
        ['B: the response', 'b'],
        ['epoch 5 is not 4: dropped', 'good'],
      ]),
      words(228, 103, 'Had both taken it: the same keys, both at counter 0.', 'harm'),
      words(20, 208, 'Each clone starts a handshake of its own instead.', 'soft'),
    ],
  },
  {
    name: 'step-7-barrier',
    alt: 'Step 7, the freshness barrier. Both clones have one state of the generator, and would draw the same ephemeral key for one initiation. So none is drawn until an ID, a reseed of the kernel, hardware or a seed has parted them. Then they draw different ones',
    height: 236,
    strokes: [
      box(20, 84, 122, ['the state of', 'the generator']),
      snapshot(170, 40, 200, 'S'),
      arrow(142, 104, 210, 62, 'a'),
      arrow(142, 112, 210, 156, 'b'),
      chain(214, 44, [
        ['A waits', 'a'],
        ['an ID of its own', 'good'],
        ['ephemeral a', 'a'],
      ]),
      chain(214, 140, [
        ['B waits', 'b'],
        ['an ID of its own', 'good'],
        ['ephemeral b', 'b'],
      ]),
      words(214, 113, 'Without the wait: one ephemeral key, one set of keys, twice.', 'harm'),
      words(
        20,
        222,
        'Also: fresh bytes of a kernel that has reseeded, of hardware, or a seed of the hook.',
        'soft',
      ),
    ],
  },
  {
    name: 'step-8-random',
    alt: 'Step 8. Random bytes are generated, then the generation is read, then they are handed out. If it has changed they are discarded, and the generator is reseeded before it generates again',
    height: 160,
    strokes: [
      chain(20, 20, [['generate'], ['read: the same'], ['hand out', 'good']]),
      chain(20, 74, [['generate'], ['read: it is new', 'harm'], ['discard'], ['reseed, and again', 'good']]),
      words(20, 143, 'The same order as in step 5: the look comes last.', 'soft'),
    ],
  },
  {
    name: 'late-word',
    alt: 'Delayed sources. Between the snapshot and the word of it there is a window. A datagram sealed in it is held back; when the hold is longer than the delay, the word comes first, and the datagram is discarded',
    height: 210,
    strokes: [
      snapshot(150, 40, 180, 'S'),
      snapshot(330, 40, 180, 'word of the fork'),
      `<path class="stroke harm" d="M152 58H328"/>`,
      words(240, 52, 'the window', 'harm', 'middle'),
      words(20, 96, 'not held', 'harm'),
      chain(185, 74, [['sealed, sent', 'harm']]),
      words(345, 96, 'gone before anybody knew', 'harm'),
      words(20, 150, 'held back', 'good'),
      chain(185, 128, [['sealed, held']]),
      arrow(304, 145, 440, 145, 'good'),
      chain(442, 128, [['look: new, discarded', 'good']]),
      words(20, 200, 'The price: every datagram is late by the hold.', 'soft'),
    ],
  },
];

/** Every drawing, in the order in which the page shows them. */
export const DRAWINGS: readonly Drawing[] = [...STORY, ...STEPS];
