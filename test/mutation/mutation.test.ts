// The tool behind `npm run mutate`: what it mutates, and how it knows a survivor again.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { changedRanges, hunks, textId } from './changed.js';
import { type Equivalent, describeMutant, hasSurvived, isSame } from './survivors.js';
import { TARGETS } from './targets.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const json = (path: string): unknown => JSON.parse(read(path));

describe('the lines that have changed', () => {
  function repository(): {
    root: string;
    git: (...args: string[]) => string;
    write: (lines: string[]) => void;
  } {
    const root = mkdtempSync(join(tmpdir(), 'wireonce-changed-'));
    onTestFinished(() => rmSync(root, { recursive: true }));
    const identity = ['-c', 'user.name=x', '-c', 'user.email=x'];
    const git = (...args: string[]) =>
      execFileSync('git', [...identity, ...args], { cwd: root, encoding: 'utf8', stdio: 'pipe' });
    return { root, git, write: lines => writeFileSync(join(root, 'a.ts'), `${lines.join('\n')}\n`) };
  }
  const LINES = Array.from({ length: 40 }, (_, i) => `line ${i + 1}`);

  it('are those that differ from the text of then, committed or not, with some around them', () => {
    const { root, git, write } = repository();
    git('init', '-q');
    write(LINES);
    const then = textId(root, 'a.ts');
    git('add', '.');
    git('commit', '-qm', 'then');
    expect(changedRanges(root, 'a.ts', then)).toEqual([]);
    write(LINES.with(19, 'another'));
    git('commit', '-qam', 'changed');
    expect(changedRanges(root, 'a.ts', then)).toEqual(['a.ts:17-23']);
    write(LINES.with(19, 'another').toSpliced(30, 1));
    expect(changedRanges(root, 'a.ts', then)).toEqual(['a.ts:17-23', 'a.ts:27-33']);
  });

  it('are all of them where nobody knows better: no record, no such text, no git', () => {
    const { root, git, write } = repository();
    write(LINES);
    expect(changedRanges(root, 'a.ts', undefined)).toEqual(['a.ts']);
    expect(changedRanges(root, 'a.ts', '0123456789012345678901234567890123456789')).toEqual(['a.ts']);
    git('init', '-q');
    expect(changedRanges(root, 'a.ts', '0123456789012345678901234567890123456789')).toEqual(['a.ts']);
  });

  it('are found in a diff where lines were taken away only, and join where they meet', () => {
    expect(hunks('@@ -10,3 +9,0 @@ f\n')).toEqual([[6, 12]]);
    expect(hunks('@@ -1 +1 @@\n-a\n+b\n@@ -7,0 +8,2 @@\n@@ -30 +32 @@\n')).toEqual([
      [1, 12],
      [29, 35],
    ]);
  });
});

describe('a survivor', () => {
  const result = (line: number, from: number, to: number, replacement: string, toLine = line) => ({
    fileName: 'a.ts',
    status: 'Survived',
    location: { start: { line, column: from }, end: { line: toLine, column: to } },
    replacement,
  });

  it('is known by the text of its line before and after, wherever that stands', () => {
    const before = describeMutant('a.ts', '  if (a < b) c();\n', result(1, 7, 12, 'true'));
    expect(before).toEqual({ file: 'a.ts', original: 'if (a < b) c();', mutated: 'if (true) c();' });
    const moved = describeMutant('a.ts', '\n\nif (a < b) c();\n', result(3, 5, 10, 'true'));
    expect(isSame(before, moved)).toBe(true);
    expect(isSame(before, describeMutant('a.ts', 'if (a < b) c();', result(1, 5, 10, 'false')))).toBe(false);
    expect(isSame(before, { ...before, file: 'b.ts' })).toBe(false);
  });

  it('of many lines by the first of them', () => {
    expect(describeMutant('a.ts', 'f(() => {\n  g();\n});', result(1, 9, 2, '{}', 3))).toEqual({
      file: 'a.ts',
      original: 'f(() => { …',
      mutated: 'f(() => {});',
    });
  });

  it('is one that no test failed on, or that no test ran', () => {
    const survived = ['Killed', 'Survived', 'NoCoverage', 'Timeout', 'RuntimeError', 'Ignored'].filter(
      status => hasSurvived({ ...result(1, 1, 1, ''), status }),
    );
    expect(survived).toEqual(['Survived', 'NoCoverage']);
  });
});

describe('what is checked in', () => {
  it('every file that is mutated is there, and those of one folder stand together', () => {
    for (const file of TARGETS) expect(read(file)).not.toBe('');
    const folders = TARGETS.map(file => file.split('/')[0]);
    expect(folders.filter((folder, i) => folder !== folders[i - 1])).toEqual([...new Set(folders)]);
    for (const file of Object.keys(json('test/mutation/whole.json') as object))
      expect(TARGETS).toContain(file);
  });

  it('every mutant that is called equivalent says why, and is one of a line that is there', () => {
    for (const { file, original, mutated, reason } of json('test/mutation/equivalent.json') as Equivalent[]) {
      const lines = read(file)
        .split('\n')
        .map(line => line.trim());
      expect(lines, file).toContain(original.replace(/ …$/, ''));
      expect(mutated).not.toBe(original);
      expect(reason.length).toBeGreaterThan(20);
      expect(TARGETS).toContain(file);
    }
  });
});
