// Polynomials over GF(2^130 - 5), the field of Poly1305, and their roots in it.
// Promises: every root, each once. Numbers of an attacker's own: nothing here is secret, or takes constant
// time.
// Read on: von zur Gathen and Gerhard, Modern Computer Algebra, 14.2 and 14.3 (Cantor and Zassenhaus).

export const PRIME = (1n << 130n) - 5n;

/** Coefficients, that of x^0 first, the last not zero. Zero has none. */
export type Polynomial = readonly bigint[];

const X: Polynomial = [0n, 1n];
const ONE: Polynomial = [1n];

export function mod(value: bigint): bigint {
  const rest = value % PRIME;
  return rest < 0n ? rest + PRIME : rest;
}

/** By Horner's rule. */
export function evaluate(polynomial: Polynomial, x: bigint): bigint {
  return polynomial.reduceRight((sum, coefficient) => mod(sum * x + coefficient), 0n);
}

export function subtract(a: Polynomial, b: Polynomial): Polynomial {
  return trim(
    Array.from({ length: Math.max(a.length, b.length) }, (_, i) => mod((a[i] ?? 0n) - (b[i] ?? 0n))),
  );
}

/** All x with `polynomial(x) = 0`. Throws for zero, of which everything is a root. */
export function rootsOf(polynomial: Polynomial): bigint[] {
  if (polynomial.length === 0) throw new RangeError('everything is a root of zero');
  // x^p - x is the product of all x - a, so that the divisor has each root once, and nothing else.
  const linearFactors = greatestDivisor(polynomial, subtract(power(X, PRIME, monic(polynomial)), X));
  return split(linearFactors, 0n);
}

/** The roots of a product of different linear factors, monic. `shift`: the next to be tried. */
function split(product: Polynomial, shift: bigint): bigint[] {
  if (product.length <= 1) return [];
  if (product.length === 2) return [mod(-product[0])];
  // Each a + shift is a square or none, and half of them are: the two kinds fall apart.
  const halves = power([shift, 1n], (PRIME - 1n) / 2n, product);
  const squares = greatestDivisor(product, subtract(halves, ONE));
  const [others] = divide(product, squares);
  return [...split(squares, shift + 1n), ...split(others, shift + 1n)];
}

function power(base: Polynomial, exponent: bigint, modulus: Polynomial): Polynomial {
  let result: Polynomial = divide(ONE, modulus)[1];
  const reduced = divide(base, modulus)[1];
  for (const bit of exponent.toString(2)) {
    result = divide(multiply(result, result), modulus)[1];
    if (bit === '1') result = divide(multiply(result, reduced), modulus)[1];
  }
  return result;
}

function multiply(a: Polynomial, b: Polynomial): Polynomial {
  if (a.length === 0 || b.length === 0) return [];
  const product = Array.from({ length: a.length + b.length - 1 }, () => 0n);
  for (const [i, x] of a.entries()) for (const [j, y] of b.entries()) product[i + j] += x * y;
  return trim(product.map(mod));
}

/** Quotient and rest. */
function divide(a: Polynomial, b: Polynomial): [Polynomial, Polynomial] {
  const rest = [...a];
  const quotient = Array.from({ length: Math.max(0, a.length - b.length + 1) }, () => 0n);
  const last = b[b.length - 1];
  const lead = last === 1n ? 1n : inverse(last);
  for (let at = quotient.length - 1; at >= 0; at--) {
    const factor = mod(rest[at + b.length - 1] * lead);
    quotient[at] = factor;
    for (const [i, coefficient] of b.entries()) rest[at + i] = mod(rest[at + i] - factor * coefficient);
  }
  return [trim(quotient), trim(rest)];
}

function greatestDivisor(a: Polynomial, b: Polynomial): Polynomial {
  return b.length === 0 ? monic(a) : greatestDivisor(b, divide(a, b)[1]);
}

/** With the same roots, and 1 before the highest power: by such a one division is cheap. */
function monic(polynomial: Polynomial): Polynomial {
  const factor = inverse(polynomial[polynomial.length - 1]);
  return polynomial.map(coefficient => mod(coefficient * factor));
}

/** By Fermat: value^(p - 2). */
function inverse(value: bigint): bigint {
  let result = 1n;
  for (const bit of (PRIME - 2n).toString(2)) {
    result = mod(result * result);
    if (bit === '1') result = mod(result * value);
  }
  return result;
}

function trim(polynomial: bigint[]): Polynomial {
  while (polynomial.at(-1) === 0n) polynomial.pop();
  return polynomial;
}
