// The site of the documents: `npm run docs` writes it to dist/site. Open dist/site/index.html: no server is
// needed.
// Promises: what it shows is in the folder, and asks nobody for more.
// Read on: site.ts (what it is made of).

import { fileURLToPath } from 'node:url';
import { buildSite } from './site.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const pages = await buildSite(root, `${root}dist/site`);
console.log(`${pages.length} pages: dist/site/index.html`);
