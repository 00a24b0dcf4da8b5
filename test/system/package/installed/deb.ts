// The Debian package: what is in it, what lintian says, and its life on a machine from installing to purging.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DebianMachine } from '../debian.js';
import { run } from '../packed.js';
import { type Given, callHook, journal, put } from './given.js';

export function describePackage(given: Given): void {
  const makeAgain = (...args: string[]) =>
    run(
      given.packed.repository,
      process.execPath,
      'dist/release/deb.js',
      '--out',
      join(given.shared, 'again'),
      ...args,
    );
  const hash = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
  const listed = (path: string) => execFileSync('dpkg-deb', ['--contents', path], { encoding: 'utf8' });

  describe('the package', () => {
    it('is the same, byte by byte, when it is made again', async () => {
      expect(hash((await makeAgain()).trim())).toBe(hash(given.deb));
    });

    it.each([
      ['amd64', 62],
      ['arm64', 183],
    ])('has machine code of %s, and of no other machine', async (architecture, machine) => {
      const made = architecture === 'amd64' ? given.deb : (await makeAgain('--arch', architecture)).trim();
      expect(execFileSync('dpkg-deb', ['--field', made, 'Architecture'], { encoding: 'utf8' })).toBe(
        `${architecture}\n`,
      );
      const folder = join(given.shared, architecture);
      execFileSync('dpkg-deb', ['--extract', made, folder]);
      const binaries = listed(made)
        .split('\n')
        .flatMap(line => /\.\/(\S+\.(?:node|bare|so|exe|dll))$/.exec(line)?.[1] ?? []);
      expect(binaries.length).toBeGreaterThanOrEqual(2);
      for (const path of binaries)
        expect(readFileSync(join(folder, path)).readUInt16LE(18), path).toBe(machine);
    });
  });
}

export function describeInstalled(given: Given): void {
  describe('installed', () => {
    let machine: DebianMachine;
    let before: string[];
    const files = async () => {
      const aside = ['/var/lib/dpkg', '/var/log', '/var/cache', '/tmp'].map(path => `-not -path '${path}/*'`);
      return (await machine.run(`find / -xdev ${aside.join(' ')}`)).split('\n');
    };
    beforeAll(async () => {
      machine = await DebianMachine.boot(given.shared);
      before = await files();
      // Whether they fit each other is told by dpkg, which knows Debian's Node.
      await machine.run('dpkg --install /mnt/wireonce.deb');
    });
    afterAll(() => machine?.close());

    it('lintian finds no error', async () => {
      const said = await machine.run('lintian --allow-root --fail-on none /mnt/wireonce.deb');
      expect(said.split('\n').filter(line => line.startsWith('E:'))).toEqual([]);
      // It did look.
      expect(said).toMatch(/^W: wireonce: /m);
    });

    it('nothing is started and nothing enabled', async () => {
      expect(await machine.run('systemctl list-units --all --no-legend "wireonce*"')).toBe('');
      const enabled = 'systemctl is-enabled wireonce-vmgenid.service wireonce@wg0.service || true';
      expect(await machine.run(enabled)).toBe('disabled\ndisabled\n');
    });

    it('man shows the page, and troff has nothing to complain of', async () => {
      expect(await machine.run('man --warnings --encoding=UTF-8 wireonce >/dev/null')).toBe('');
      const page = await machine.run('MANWIDTH=200 man wireonce');
      for (const said of [
        'wireonce ping [options] <config> <address>',
        '--fork-policy <policy>',
        'WIREONCE_HOOK_TOKEN',
      ])
        expect(page).toContain(said);
    });

    it('bash, zsh and fish complete the same', async () => {
      await put(machine, '/etc/wireonce/office.conf', '');
      await put(machine, '/root/bash', BASH);
      await put(machine, '/root/zsh', ZSH);
      await put(machine, '/root/fish', 'complete -C "$argv" | string split -f 1 \\t; true');
      const complete = async (shell: string, line: string) =>
        (await machine.run(`cd /etc/default; ${shell} /root/${shell} '${line}'`))
          .split(/\s+/)
          .filter(Boolean)
          .toSorted();
      for (const [line, words] of [
        ['wireonce vmgenid s', ['serve', 'status']],
        ['wireonce --suite o', ['openssl']],
        ['wireonce status off', ['office']],
        ['wireonce off', ['office']],
        ['wireonce ping wire', ['wireonce']],
        ['wireonce vmgenid serve --ack', ['--ack-timeout']],
        ['wireonce --config wire', ['wireonce']],
        ['wireonce pubkey x', []],
      ] as const) {
        for (const shell of ['bash', 'zsh', 'fish'])
          expect([shell, line, await complete(shell, line)]).toEqual([shell, line, words]);
      }
    });

    it('an interface serves, as its files say, and the broker tells of a fork', async () => {
      await put(machine, '/etc/default/wireonce', 'LOG_LEVEL=verbose');
      await put(machine, '/etc/wireonce/wg0.conf', '[Interface]\nHoldBackMs = 7');
      await machine.run('systemctl enable --now wireonce@wg0');
      expect(await machine.run('wg show interfaces')).toBe('wg0\n');
      expect(await machine.run('wireonce status wg0 --json')).toMatch(/"holdBackMs":7\b/);
      // A handshake that nobody answers is told of at this level alone.
      await machine.run('wg genkey > /root/key; ip link set wg0 up');
      await machine.run(
        'wg set wg0 private-key /root/key peer "$(wg genkey | wg pubkey)" endpoint 127.0.0.1:9 persistent-keepalive 5',
      );
      await vi.waitFor(async () => expect(await journal(machine)).toContain('"level":"debug"'), 60_000);

      const hook = '/run/wireonce/hook';
      const serve = `ExecStart=\nExecStart=/usr/bin/wireonce vmgenid serve --hook ${hook}`;
      const dropIn = '/etc/systemd/system/wireonce-vmgenid.service.d/hook.conf';
      await put(machine, dropIn, `[Service]\n${serve}`);
      await machine.run('systemctl daemon-reload; systemctl start wireonce-vmgenid');
      const counter = () => machine.run('od -An -tu4 -N4 /run/wireonce/vmgenid');
      // The hook listens before the page is there.
      const both = `[ -S ${hook} ] && [ -s /run/wireonce/vmgenid ]`;
      await machine.run(`for i in $(seq 300); do ${both} && exit; sleep 0.1; done; exit 1`);
      const told = await counter();
      await machine.run(callHook(hook));
      expect(Number(await counter())).toBe(Number(told) + 1);
      await machine.run(`rm -r ${dropIn.replace(/\/[^/]*$/, '')}`);
    });

    it('purged, it has ended and left nothing', async () => {
      await machine.run('dpkg --purge wireonce');
      expect(await machine.run('wg show interfaces')).toBe('');
      const left = (await files()).filter(path => !before.includes(path));
      expect(left.filter(path => /wireonce|wg0/.test(path))).toEqual([]);
    });
  });
}

const BASH = `source /usr/share/bash-completion/completions/wireonce
COMP_WORDS=($1) COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_wireonce
echo "\${COMPREPLY[@]}"`;

// What zsh would insert is told by whoever takes the place of the builtin that is handed it.
const ZSH = `zmodload zsh/zpty
zpty shell zsh -f -i
read_to() { local text=; while [[ $text != *"$1"* ]]; do zpty -r shell piece || break; text+=$piece; done; print -r -- "$text" }
zpty -w shell 'PS1= ; unsetopt zle_bracketed_paste; fpath=(/usr/share/zsh/vendor-completions $fpath); autoload -U compinit; compinit -u -D
compadd() { if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi; typeset -a hits; builtin compadd -O hits "$@"; found+=($hits) }
typeset -ga found
finish() { print -r -- "<\${(u)found}>"; exit }
only() { compstate[insert]=; found=(); _main_complete; finish }
zle -C only complete-word only; bindkey "^X" only; print rea""dy'
read_to ready >/dev/null
zpty -n -w shell "$1"$'\\x18'
read_to '>' | sed -n 's/.*<\\(.*\\)>.*/\\1/p'`;
