// The scene of the proof: real machines under QEMU, cloned, and what their clones sent.

import { Panel, Scroller } from '../../ui/show.js';
import type { ProofFigures } from './figures.js';

declare const PROOF_FIGURES: ProofFigures;

export function ProofScene() {
  return (
    <>
      <Panel title="Forked under traffic, two clones each">
        <Figures
          label="Figures of forks"
          heads={['forks', 'with reuse', 'nonces used twice', 'most in one fork', 'not compared']}
          rows={PROOF_FIGURES.forks.map(({ forks, withReuse, reused, most, failed, ...row }) => ({
            ...row,
            counts: [forks, { harm: withReuse }, { harm: reused }, most, failed],
          }))}
        />
        <p class="note">
          QEMU with a real <code>vmgenid</code> device and no KVM: which comes first is real, how long it
          takes is not. By <code>npm run prove -- --json</code>. More forks, and what is counted as reuse:{' '}
          <code>docs/proof.md</code>.
        </p>
      </Panel>
      <Panel title="One snapshot, eight clones">
        <Figures
          label="Figures of clones"
          heads={['forks', 'clones', 'keys', 'reached', 'under the parent’s key', 'not compared']}
          rows={PROOF_FIGURES.clones.map(
            ({ forks, clones, keys, reached, underParentKey, failed, ...row }) => ({
              ...row,
              counts: [forks, clones, keys, reached, { harm: underParentKey }, failed],
            }),
          )}
        />
      </Panel>
    </>
  );
}

interface FiguresRow {
  readonly name: string;
  readonly measured: string;
  /** Of what does harm: good only as zero. */
  readonly counts: readonly (number | { readonly harm: number })[];
}

function Figures(props: {
  readonly label: string;
  readonly heads: readonly string[];
  readonly rows: readonly FiguresRow[];
}) {
  const { label, heads, rows } = props;
  return (
    <Scroller label={label}>
      <table>
        <thead>
          <tr>
            <th scope="col">what is cloned</th>
            {heads.map(head => (
              <th key={head} scope="col" class="number">
                {head}
              </th>
            ))}
            <th scope="col">where and when</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, counts, measured }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {counts.map((count, i) =>
                typeof count === 'number' ? (
                  <td key={heads[i]} class="number">
                    {count}
                  </td>
                ) : (
                  <td key={heads[i]} class={`number ${count.harm > 0 ? 'harm' : 'good'}`}>
                    {count.harm}
                  </td>
                ),
              )}
              <td class="measured">{measured}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroller>
  );
}
