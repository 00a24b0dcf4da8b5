// What becomes of a document: HTML with anchors as GitHub makes them, coloured code, and its parts for the
// search.
// Promises: every heading has an anchor of its own, and what scrolls can be reached by keyboard. The
// documents are ours: what is HTML in them stays HTML.
// Read on: pages.ts (where links lead), search-index.ts (what is found).

import hljs from 'highlight.js';
import { Renderer, type Tokens, marked } from 'marked';

/** What stands below one heading. */
export interface Part {
  readonly anchor: string;
  readonly title: string;
  readonly depth: number;
  /** Without markup. */
  readonly text: string;
}

export interface Rendered {
  readonly html: string;
  readonly parts: readonly Part[];
}

export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** A block of code, coloured if its language is known. */
export function codeBlock(text: string, language: string): string {
  const html = hljs.getLanguage(language) ? hljs.highlight(text, { language }).value : escaped(text);
  return `<pre tabindex="0"><code>${html}</code></pre>\n`;
}

class SiteRenderer extends Renderer {
  readonly #rewrite: (href: string) => string;
  readonly #anchors = new Map<string, number>();

  constructor(rewrite: (href: string) => string) {
    super();
    this.#rewrite = rewrite;
  }

  override heading({ tokens, depth }: Tokens.Heading): string {
    const inner = this.parser.parseInline(tokens);
    const anchor = this.#anchorOf(textOf(inner));
    const link =
      depth === 1 ? '' : ` <a class="anchor" href="#${anchor}" aria-label="Link to this part">#</a>`;
    return `<h${depth} id="${anchor}">${inner}${link}</h${depth}>\n`;
  }

  override code({ text, lang }: Tokens.Code): string {
    return codeBlock(text, lang ?? '');
  }

  override table(token: Tokens.Table): string {
    return `<div class="scroller" tabindex="0">${super.table(token)}</div>\n`;
  }

  override link({ href, tokens }: Tokens.Link): string {
    return `<a href="${escaped(this.#rewrite(href))}">${this.parser.parseInline(tokens)}</a>`;
  }

  override image({ href, text }: Tokens.Image): string {
    const src = escaped(this.#rewrite(href));
    return `<a class="picture" href="${src}"><img src="${src}" alt="${escaped(text)}"></a>`;
  }

  override html({ text }: Tokens.HTML | Tokens.Tag): string {
    return text.replaceAll(
      /(\s(?:src|srcset|href)=")([^"]*)/g,
      (_, name: string, href: string) => name + this.#rewrite(href),
    );
  }

  #anchorOf(title: string): string {
    const plain = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\s-]/gu, '')
      .replaceAll(' ', '-');
    const seen = this.#anchors.get(plain) ?? 0;
    this.#anchors.set(plain, seen + 1);
    return seen === 0 ? plain : `${plain}-${seen}`;
  }
}

/** @param rewrite where a link or a picture of the document is in the site */
export function render(markdown: string, rewrite: (href: string) => string): Rendered {
  const html = marked.parse(markdown, { renderer: new SiteRenderer(rewrite), async: false });
  const parts = html.split(/^(?=<h[1-6] )/m).flatMap(piece => {
    const [head, depth, anchor, title] = /^<h(\d) id="([^"]*)">(.*)<\/h\d>/.exec(piece) ?? [];
    if (head === undefined) return [];
    const name = title.replace(/ <a class="anchor".*$/, '');
    return [{ anchor, depth: Number(depth), title: textOf(name), text: textOf(piece.slice(head.length)) }];
  });
  return { html, parts };
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
  '&amp;': '&',
};

function textOf(html: string): string {
  return html
    .replaceAll(/<\/(?:p|li|td|th|pre|h\d)>/g, ' ')
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/&(?:lt|gt|quot|#39|amp);/g, entity => ENTITIES[entity] ?? '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
