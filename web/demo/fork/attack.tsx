// What an attacker makes of two messages under one key and counter, step by step.
// Promises: what is shown as his was computed by demo/attack from what he captured; what was sent stands
// beside it, for the reader alone.

import type { SeparatedPictures } from '../../../demo/attack/pictures.js';
import { LIE, PICTURES } from '../../../demo/fork-story.js';
import { WIDTH } from '../../../demo/picture.js';
import { HEALTH_CHECK, STANDBY_CARD } from '../../../demo/public-knowledge.js';
import { Bitmap, Panel, Verdict } from '../../ui/show.js';
import type { Forged } from './run.js';

export function PicturesPanel({ separated }: { readonly separated: SeparatedPictures }) {
  const { mixed, pictures } = separated;
  return (
    <Panel title="Two pictures, from ciphertext alone" tone="harm">
      <p>
        Under one key and counter both clones have one keystream. XOR of two ciphertexts takes it away: what
        is left is XOR of the two pictures, and the eye sees both.
      </p>
      <div class="columns">
        <Bitmap
          pixels={mixed}
          width={WIDTH}
          caption="Ciphertext of A, XOR ciphertext of B"
          text="A badge with a face and letters, and behind it a ship under a moon, both as in a double exposure"
        />
        <Bitmap
          pixels={STANDBY_CARD}
          width={WIDTH}
          caption="What the attacker guesses: somebody shows the public test card"
          text="A test card: a circle with grey bars on a chequered ground"
        />
      </div>
      <p>
        Later clone A has nothing more to show, and sends the test card that all of its kind send, while B
        sends its picture once more. XOR of those two with the card is smooth, as a picture is and noise is
        not: so the guess was right, and B lies open. With B the first pair gives A.
      </p>
      <div class="columns">
        <Bitmap
          pixels={pictures[0]}
          width={WIDTH}
          caption="Recovered: the picture of clone A"
          text="A ship before hills in the evening, under a full moon"
        />
        <Bitmap
          pixels={pictures[1]}
          width={WIDTH}
          caption="Recovered: the picture of clone B"
          text="A badge: the face of a man, the name A. Turing, PIN 1912, number 4711"
        />
      </div>
      <details>
        <summary>What the clones sent, to compare</summary>
        <div class="columns">
          <Bitmap pixels={PICTURES[0][0]} width={WIDTH} caption="Sent by clone A" text="The same ship" />
          <Bitmap pixels={PICTURES[1][0]} width={WIDTH} caption="Sent by clone B" text="The same badge" />
        </div>
      </details>
    </Panel>
  );
}

export function ForgeryPanel({
  forged,
  arrived,
  noticed,
}: {
  readonly forged: Forged;
  readonly arrived: readonly { readonly words: string; readonly from: string }[];
  readonly noticed: bigint | undefined;
}) {
  const { key, degree, roots, counter, overheard, believed } = forged;
  const last = arrived.at(-1);
  return (
    <Panel title="One packet, forged" tone={believed ? 'harm' : 'good'}>
      <ol class="steps">
        <li>
          The attacker sits on the wire. He keeps the first datagram of each clone, counter{' '}
          <code>{String(counter)}</code>, and lets neither through: packets get lost every day.
        </li>
        <li>
          He guesses what one of them says: <code>{HEALTH_CHECK.trim()}</code>, the same from every sandbox.
          That gives him the keystream, and with it the other: <code>{overheard}</code>
        </li>
        <li>
          A tag is <code>h(r) + s</code>, where the message is the coefficients of h, and r and s are a key
          for one message alone. Of two tags under one key he takes the difference: s is gone, and there is an
          equation of degree {degree} in r over the integers modulo 2<sup>130</sup> − 5. With every carry that
          there may have been, {roots} {roots === 1 ? 'number solves' : 'numbers solve'} it; the one with the
          22 zero bits of an r is
          <br />
          <code>r = {hex(key.r)}</code>
          <br />
          <code>s = {hex(key.s)}</code>
        </li>
        <li>
          With r and s he makes the tag of any message, with the keystream its ciphertext. He writes{' '}
          <code>{LIE}</code> and sends it from an address of his own.
        </li>
      </ol>
      {believed ? (
        <Verdict tone="harm">
          The peer, a real WireGuard in another process, has accepted it as the machine’s: “{last?.words}”. It
          now answers to <code>{last?.from}</code>, which is the attacker.
        </Verdict>
      ) : (
        <Verdict tone="good">
          The peer has refused it.{' '}
          {noticed !== undefined &&
            `Counter ${noticed} came twice with different content: so its peer was cloned, and it ended the session before the forgery came. `}
          What the clones had sent by then is read all the same.
        </Verdict>
      )}
    </Panel>
  );
}

function hex(number: bigint): string {
  return number.toString(16).padStart(32, '0');
}
