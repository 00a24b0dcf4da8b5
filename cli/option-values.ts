// Values of command-line options, read strictly: what is no number is refused, and the message says what is.

import { InvalidArgumentError } from 'commander';

/** A reader of whole numbers from `min` to `max`, for commander. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return text => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`A whole number from ${min} to ${max} is wanted.`);
  };
}

/** A reader of seconds, with or without a fraction, from `min` to `max`. */
export function seconds(min: number, max: number): (text: string) => number {
  return text => {
    const value = /^\d{0,9}(\.\d{0,9})?$/.test(text) && /\d/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`A number of seconds from ${min} to ${max} is wanted.`);
  };
}
