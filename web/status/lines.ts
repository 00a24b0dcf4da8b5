// A stream of text, line by line.
// Promises: however it is cut, in the midst of a character too; what has no end of line is none. Who hears no
// more of it gives the stream back.

export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = decoder.decode(value, { stream: true }).split('\n');
      for (const part of parts.slice(0, -1)) {
        yield [...pieces, part].join('');
        pieces = [];
      }
      pieces.push(parts[parts.length - 1]);
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
