import { inspect } from 'node:util'

/** What stands for a secret wherever it is written. */
const MASK = '[secret]'

/** A value that shows itself only to who asks for it: a log line, an error or a dump of the settings has the mask. */
export interface Secret {
  reveal(): string
  toString(): string
  toJSON(): string
}

/** Hides a value, empty or not. */
export function createSecret(value: string): Secret {
  const masked = () => MASK
  // The value is in the closure, not in a property that a logger would walk to.
  return Object.freeze({ reveal: () => value, toString: masked, toJSON: masked, [inspect.custom]: masked })
}
