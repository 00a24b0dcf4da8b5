// Where a picture that changes is drawn: in place on a terminal, block after block anywhere else.
// Promises: the cursor comes back however it ends; no line is broken by a narrow terminal; drawn anew when that is resized.
// Read on: status-watch.ts; man 4 console_codes.

import type { WriteStream } from 'node:tty';
import { harmless } from '../tunnel/daemon/human.js';
import { type CliIo, printLine } from './io.js';

export interface PictureLine {
  readonly text: string;
  /** It is another than in the picture before. */
  readonly isNew: boolean;
}

export interface Screen {
  /** `title`: of this picture. */
  draw(title: string, lines: readonly PictureLine[]): void;
  close(): void;
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const CLEAR = '\u001b[2J';
const HOME = '\u001b[H';
const CLEAR_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const BOLD = '\u001b[1m';
const PLAIN = '\u001b[0m';

export function screenOf({ stdout, env }: Pick<CliIo, 'stdout' | 'env'>): Screen {
  const terminal = stdout as Partial<WriteStream> & NodeJS.WritableStream;
  return terminal.isTTY === true ? new Terminal(terminal, !env['NO_COLOR']) : new Blocks(stdout);
}

class Terminal implements Screen {
  readonly #stream: Partial<WriteStream> & NodeJS.WritableStream;
  readonly #bold: boolean;
  readonly #redraw = () => this.#draw(true);
  #lines: readonly PictureLine[] | undefined;

  constructor(stream: Partial<WriteStream> & NodeJS.WritableStream, bold: boolean) {
    this.#stream = stream;
    this.#bold = bold;
    stream.on('resize', this.#redraw);
  }

  draw(title: string, lines: readonly PictureLine[]): void {
    const isFirst = this.#lines === undefined;
    this.#lines = [{ text: title, isNew: false }, { text: '', isNew: false }, ...lines];
    if (isFirst) this.#stream.write(HIDE_CURSOR);
    this.#draw(isFirst);
  }

  close(): void {
    this.#stream.off('resize', this.#redraw);
    if (this.#lines !== undefined) this.#stream.write(`\n${SHOW_CURSOR}`);
  }

  // In one write: half a picture is never seen.
  #draw(clears: boolean): void {
    const lines = this.#lines ?? [];
    // There are terminals that do not know how large they are, and say 0.
    const columns = this.#stream.columns || 80;
    // The last row stays free for what comes after.
    const room = Math.max((this.#stream.rows || 24) - 1, 1);
    const shown = lines.length <= room ? lines : lines.slice(0, room - 1);
    const text = shown.map(({ text, isNew }) => this.#emphasised(harmless(text).slice(0, columns), isNew));
    if (shown.length < lines.length)
      text.push(`(${lines.length - shown.length} more lines: make the terminal taller)`.slice(0, columns));
    this.#stream.write(
      (clears ? CLEAR : '') + HOME + text.map(line => line + CLEAR_LINE_END).join('\n') + CLEAR_BELOW,
    );
  }

  #emphasised(text: string, isNew: boolean): string {
    return isNew && this.#bold ? BOLD + text + PLAIN : text;
  }
}

class Blocks implements Screen {
  readonly #stream: NodeJS.WritableStream;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  draw(title: string, lines: readonly PictureLine[]): void {
    for (const line of [`--- ${title}`, ...lines.map(({ text }) => text)]) printLine(this.#stream, line);
  }

  close(): void {}
}
