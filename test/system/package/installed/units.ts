// The unit of the sources, with every way of installing that the documents name, under a real systemd.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { documentedFile } from '../../../support/document-blocks.js';
import { DebianMachine } from '../debian.js';
import { ROOT } from '../packed.js';
import { type Given, journal, put } from './given.js';

export function describeUnits(given: Given): void {
  describe('the unit of the sources', () => {
    let machine: DebianMachine;
    const unit = readFileSync(join(ROOT, 'systemd/wireonce@.service'), 'utf8');
    const SENTENCE = 'in a home, which ProtectHome hides';
    beforeEach(async () => {
      machine = await DebianMachine.boot(given.shared);
      await put(machine, '/etc/systemd/system/wireonce@.service', unit);
    });
    afterEach(() => machine?.close());

    const start = () =>
      machine.run('systemctl daemon-reload; systemctl start wireonce@wg0 && wg show interfaces');
    /** Puts a file there that docs/configuration.md shows. */
    const putDocumented = async (path: string) => {
      await put(machine, path, documentedFile('docs/configuration.md', path));
    };
    /** As `npm install -g .` leaves it: a link into the folder of a user, which nobody else may enter. */
    const linked = () =>
      machine.run(`useradd --create-home me && chmod 700 /home/me
      cp -r /mnt/lib/node_modules/wireonce /home/me/wireonce && chown -R me /home/me
      ln -s /home/me/wireonce/dist/cli/main.js /usr/local/bin/wireonce`);

    it('runs what is installed for all', async () => {
      await machine.run('cp -r /mnt/bin /mnt/lib /usr/local/');
      expect(await start()).toBe('wg0\n');
    });

    it('says what is wrong with a folder under a home, and runs it with the drop-in of the documents', async () => {
      await linked();
      expect(await machine.run('wireonce --version')).toMatch(/^\d/);
      await expect(start()).rejects.toThrow('wireonce@wg0.service failed');
      expect(await journal(machine)).toContain(SENTENCE);
      await putDocumented('/etc/systemd/system/wireonce@.service.d/home.conf');
      expect(await start()).toBe('wg0\n');
    });

    it('and so with a Node under a home', async () => {
      const bin = '/home/me/.nvm/versions/node/v22.0.0/bin';
      await linked();
      await machine.run(`mkdir -p ${bin}; mv /usr/bin/node /usr/local/bin/wireonce ${bin}`);
      await expect(start()).rejects.toThrow('wireonce@wg0.service failed');
      expect(await journal(machine)).toContain(SENTENCE);
      await putDocumented('/etc/systemd/system/wireonce@.service.d/nvm.conf');
      expect(await start()).toBe('wg0\n');
    });

    it('control: without its look before the start, a number is all that is said', async () => {
      await linked();
      const blind = unit.replace(/^ExecStartPre=.*$/m, '');
      await put(machine, '/etc/systemd/system/wireonce@.service', blind);
      await expect(start()).rejects.toThrow('wireonce@wg0.service failed');
      const said = await journal(machine);
      expect(said).not.toContain(SENTENCE);
      expect(said).toContain('status=203/EXEC');
    });
  });
}
