/** A queue of its own: runs each job when all before it are done, whatever became of them. */
export function oneByOne(): <T>(job: () => Promise<T> | T) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return job => {
    const result = last.then(job);
    last = result.catch(() => undefined);
    return result;
  };
}
