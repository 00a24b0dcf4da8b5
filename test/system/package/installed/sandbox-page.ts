// docs/sandbox-platforms.md: every command for the guest runs, and does what it is there for.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentBlocks, documentedFile } from '../../../support/document-blocks.js';
import { DebianMachine } from '../debian.js';
import { type Given, callHook, journal, put } from './given.js';

export function describeSandboxPage(given: Given): void {
  describe('docs/sandbox-platforms.md', () => {
    const PAGE = 'docs/sandbox-platforms.md';
    let machine: DebianMachine;
    beforeAll(async () => {
      machine = await DebianMachine.boot(given.shared);
      await machine.run('cp /mnt/wireonce.deb /root/');
    });
    afterAll(() => machine?.close());

    it('says of each block whether a test runs it, or is a file', () => {
      for (const block of documentBlocks(PAGE))
        expect(block).toMatch(/^(# (guest|host)(, not run: .*)?|#!\/bin\/sh -e\n# \/.*|# \/etc\/.*)\n/);
    });

    it('each command for the guest does what it is there for', async () => {
      const blocks = documentBlocks(PAGE).filter(block => block.startsWith('# guest\n'));
      expect(blocks.length).toBe(4);
      const said: string[] = [];
      for (const block of blocks) {
        await put(machine, '/root/block', block);
        said.push(await machine.run('cd /root && timeout 100 sh -e block'));
      }
      expect(said[0]).toMatch(/^CONFIG_TUN=|does not show/m);
      // Run from outside, a command has the rights of the machine around the container, and what that one's kernel offers.
      expect(said[1]).toMatch(/^protection: (none|immediate \(bpf\))$/m);
      expect(said[1]).toMatch(/^next step: /m);
      expect(await machine.run('cat /etc/default/wireonce')).toMatch(/^WIREONCE_STRICT=true$/m);
      expect(await machine.run('cat /run/rehearsal.log')).toContain('fork: epoch 2, seen by hook');
      // What strict means: to the unit no source here is immediate.
      await expect(machine.run('systemctl start wireonce@wg0')).rejects.toThrow('failed');
      expect(await journal(machine)).toContain('strict');
    });

    it('its command for each fork ends connections that were copied', async () => {
      const files = [
        '/usr/local/sbin/end-copied-connections',
        '/etc/systemd/system/wireonce-vmgenid.service.d/connections.conf',
      ];
      // A machine that is not cloned is told of its fork by the hook.
      for (const path of files)
        await put(
          machine,
          path,
          documentedFile(PAGE, path).replace('serve --exec', 'serve --hook /run/wireonce/hook --exec'),
        );
      await machine.run(`chmod 755 ${files[0]}; systemctl daemon-reload; systemctl start wireonce-vmgenid`);
      const talk = `const server = net.createServer(socket => socket.resume().on("error", () => {})).listen(7777, () => {
      net.connect(7777).on("connect", () => fs.writeFileSync("/run/talks", "")).on("error", error => {
        fs.writeFileSync("/run/ended", error.code); process.exit();
      });
    });`;
      await machine.run(`(setsid node -e '${talk}' >/dev/null 2>&1 &)`);
      const until = (path: string) =>
        machine.run(`for i in $(seq 600); do [ -e ${path} ] && exit; sleep 0.1; done; exit 1`);
      await until('/run/talks');
      await until('/run/wireonce/hook');
      expect(await machine.run('ss --no-header --tcp state established')).toContain(':7777');
      await machine.run(callHook('/run/wireonce/hook'));
      await until('/run/ended');
      expect(await machine.run('ss --no-header --tcp state established')).toBe('');
    });
  });
}
