// What a page is worked with.

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

export function Button({
  children,
  onPress,
  main = false,
  disabled = false,
}: {
  readonly children: ComponentChildren;
  readonly onPress: () => void;
  readonly main?: boolean;
  readonly disabled?: boolean;
}) {
  // By `disabled` itself whoever has just pressed it would lose his place in the page.
  const press = () => disabled || onPress();
  return (
    <button type="button" class={main ? 'main' : ''} aria-disabled={disabled} onClick={press}>
      {children}
    </button>
  );
}

/** One of a few. */
export function Choice({
  label,
  options,
  value,
  onChoose,
}: {
  readonly label: string;
  /** What is shown, by value. */
  readonly options: Readonly<Record<string, string>>;
  readonly value: string;
  readonly onChoose: (value: string) => void;
}) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      <div class="options">
        {Object.entries(options).map(([option, text]) => (
          <label key={option}>
            <input
              type="radio"
              name={name}
              value={option}
              checked={option === value}
              onChange={() => onChoose(option)}
            />
            {text}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** A number. `text` says it with its unit. */
export function Slider({
  label,
  value,
  min,
  max,
  step = 1,
  text,
  onMove,
}: {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step?: number;
  readonly text: string;
  readonly onMove: (value: number) => void;
}) {
  const id = useId();
  return (
    <div class="slider">
      <span class="label">
        <label for={id}>{label}</label>
        <output for={id}>{text}</output>
      </span>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={text}
        onInput={event => onMove(Number(event.currentTarget.value))}
      />
    </div>
  );
}
