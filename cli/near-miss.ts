// Is a word a slip of the keyboard for another? Told before `wireonce genky` makes an interface of that name.

/** Whether `word` becomes `meant` by one letter more, less, or other, or by two neighbours exchanged. */
export function isNearMiss(word: string, meant: string): boolean {
  if (word === meant || Math.abs(word.length - meant.length) > 1) return false;
  let start = 0;
  while (start < word.length && word[start] === meant[start]) start++;
  const [a, b] = [word.slice(start), meant.slice(start)];
  return (
    a.slice(1) === b.slice(1) ||
    a.slice(1) === b ||
    a === b.slice(1) ||
    (a[0] === b[1] && a[1] === b[0] && a.slice(2) === b.slice(2))
  );
}
