// Which WireGuards are measured, ours first.

import { boringtun } from './boringtun.js';
import type { Implementation } from './implementation.js';
import { wireguardGoDebian, wireguardGoNewest } from './wireguard-go.js';
import { wireonce } from './wireonce.js';

export const IMPLEMENTATIONS: readonly Implementation[] = [
  wireonce,
  wireguardGoNewest,
  boringtun,
  wireguardGoDebian,
];
