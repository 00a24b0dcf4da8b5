// What is worth a sentence when one picture of an interface follows another: for whoever listens to the page.
// Promises: nothing of what changes with every packet, and of many peers only their number.

import type { InterfaceState } from '../../tunnel/daemon/status-picture.js';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';

export function newsOf(before: InterfaceState, after: InterfaceState): string[] {
  const { name } = after;
  if ('waiting' in after) return 'waiting' in before ? [] : [`${name}: no answer any more. ${after.waiting}`];
  if ('waiting' in before) return [`${name} is back.`];
  return changes(before.status, after.status).map(sentence => `${name}: ${sentence}`);
}

function changes(before: DeviceStatus, after: DeviceStatus): string[] {
  if (after.uptimeMs < before.uptimeMs) return ['its daemon was started anew.'];
  const news: string[] = [];
  for (const { epoch, cause } of after.epochs)
    if (epoch > before.epoch) news.push(`${cause === 'fork' ? 'a fork' : 'a drill'}: epoch ${epoch} begins.`);
  const { recovery } = after;
  if (
    recovery &&
    recovery.called > 0 &&
    recovery.back === recovery.called &&
    !wasBack(before, recovery.epoch)
  )
    news.push(`all who were called are back in epoch ${recovery.epoch}.`);
  if (after.linkState !== before.linkState) news.push(`the interface is ${after.linkState}.`);
  if (after.protection !== before.protection) news.push(`protection is ${after.protection} now.`);
  const known = new Set(before.hints.map(kindOf));
  news.push(...after.hints.filter(hint => !known.has(kindOf(hint))).map(hint => `${hint}.`));
  if (before.hints.length > 0 && after.hints.length === 0) news.push('nothing is wrong any more.');
  return news;
}

function wasBack({ recovery }: DeviceStatus, epoch: number): boolean {
  return recovery !== null && recovery.epoch === epoch && recovery.back === recovery.called;
}

/** A sentence in which only a number has grown says nothing new. */
function kindOf(hint: string): string {
  return hint.replaceAll(/\b(?:once|\d+(?: times)?)(?![\w+/=])/g, '#');
}
