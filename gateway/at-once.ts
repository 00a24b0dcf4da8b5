// Many changes of a store at once, so that they share a wait for the disk, and not all, so that memory is bounded.

/** Does `work` for each, `limit` at a time, begun in one turn. Rejects when one has failed, with all before it done. */
export async function manyAtOnce<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < limit) continue;
    await Promise.all(batch.map(work));
    batch = [];
  }
  await Promise.all(batch.map(work));
}
