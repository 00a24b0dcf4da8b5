// The scene of the proof: real machines under QEMU, cloned, and what their clones sent.

import runs from '../../../docs/proof.json' with { type: 'json' };
import { Panel, Scroller } from '../../ui/show.js';
import { type Run, cloneFigures, forkFigures } from './figures.js';

const RUNS: readonly Run[] = runs;

export function ProofScene() {
  return (
    <>
      <Panel title="Forked under traffic, two clones each">
        <Scroller label="Figures of forks">
          <table>
            <thead>
              <tr>
                <th scope="col">what is cloned</th>
                <Numbers
                  heads={['forks', 'with reuse', 'nonces used twice', 'most in one fork', 'not compared']}
                />
                <th scope="col">where and when</th>
              </tr>
            </thead>
            <tbody>
              {forkFigures(RUNS).map(row => (
                <tr key={row.name}>
                  <th scope="row">{row.name}</th>
                  <td class="number">{row.forks}</td>
                  <td class={`number ${row.withReuse > 0 ? 'harm' : 'good'}`}>{row.withReuse}</td>
                  <td class={`number ${row.reused > 0 ? 'harm' : 'good'}`}>{row.reused}</td>
                  <td class="number">{row.most}</td>
                  <td class="number">{row.failed}</td>
                  <td class="measured">{row.measured}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroller>
        <p class="note">
          QEMU with a real <code>vmgenid</code> device and no KVM: which comes first is real, how long it
          takes is not. By <code>npm run prove -- --json</code>. More forks, and what is counted as reuse:{' '}
          <code>docs/proof.md</code>.
        </p>
      </Panel>
      <Panel title="One snapshot, eight clones">
        <Scroller label="Figures of clones">
          <table>
            <thead>
              <tr>
                <th scope="col">what is cloned</th>
                <Numbers
                  heads={['forks', 'clones', 'keys', 'reached', 'under the parent’s key', 'not compared']}
                />
                <th scope="col">where and when</th>
              </tr>
            </thead>
            <tbody>
              {cloneFigures(RUNS).map(row => (
                <tr key={row.name}>
                  <th scope="row">{row.name}</th>
                  <td class="number">{row.forks}</td>
                  <td class="number">{row.clones}</td>
                  <td class="number">{row.keys}</td>
                  <td class="number">{row.reached}</td>
                  <td class={`number ${row.underParentKey > 0 ? 'harm' : 'good'}`}>{row.underParentKey}</td>
                  <td class="number">{row.failed}</td>
                  <td class="measured">{row.measured}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroller>
      </Panel>
    </>
  );
}

function Numbers({ heads }: { readonly heads: readonly string[] }) {
  return (
    <>
      {heads.map(head => (
        <th key={head} scope="col" class="number">
          {head}
        </th>
      ))}
    </>
  );
}
