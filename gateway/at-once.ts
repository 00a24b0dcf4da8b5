// Many changes of a store at once, so that they share a wait for the disk, and not all, so that memory is bounded.

/** Does `work` for each, up to `limit` at a time. Rejects when one has failed, with those before it done. */
export async function manyAtOnce<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let under: Promise<void>[] = [];
  for await (const item of items) {
    const done = work(item);
    // Its failure is looked at with the others'.
    done.catch(() => undefined);
    under.push(done);
    if (under.length < limit) continue;
    await Promise.all(under);
    under = [];
  }
  await Promise.all(under);
}
