/**
 * Pattern: what the syntaxes (regex.ts, glob.ts) are parsed into and an automaton is made of
 * (dfa.ts): sets of characters, joined by sequence, choice and repetition.
 */

/** Unicode code points from `first` to `last`, both included. */
export interface CodePointRange {
  readonly first: number;
  readonly last: number;
}

export type Pattern =
  | { readonly kind: "characters"; readonly ranges: readonly CodePointRange[] }
  | { readonly kind: "sequence"; readonly parts: readonly Pattern[] }
  | { readonly kind: "choice"; readonly options: readonly Pattern[] }
  /** `part`, from `least` to `most` times; `most` may be Infinity. */
  | {
      readonly kind: "repeat";
      readonly part: Pattern;
      readonly least: number;
      readonly most: number;
    };

export const LAST_CODE_POINT = 0x10ffff;

export const ANY_CHARACTER: Pattern = {
  kind: "characters",
  ranges: [{ first: 0, last: LAST_CODE_POINT }],
};

/** The pattern that the empty string alone matches. */
export const EMPTY: Pattern = { kind: "sequence", parts: [] };

export function character(codePoint: number): Pattern {
  return { kind: "characters", ranges: [{ first: codePoint, last: codePoint }] };
}

/** Any number of `part`. */
export function anyNumberOf(part: Pattern): Pattern {
  return { kind: "repeat", part, least: 0, most: Number.POSITIVE_INFINITY };
}

/** The characters in none of the ranges. */
export function complement(ranges: readonly CodePointRange[]): CodePointRange[] {
  const sorted = [...ranges].sort((a, b) => a.first - b.first);
  const rest: CodePointRange[] = [];
  let next = 0;
  for (const { first, last } of sorted) {
    if (first > next) rest.push({ first: next, last: first - 1 });
    next = Math.max(next, last + 1);
  }
  if (next <= LAST_CODE_POINT) rest.push({ first: next, last: LAST_CODE_POINT });
  return rest;
}
