/**
 * How many keys of the oldest run are deleted by ranges: what tells whether to merge it with what is
 * newer, so that its space comes back.
 *
 * The ends of a range tombstone have ranks in the oldest run, and the difference is the number of its
 * keys between them. It is an estimate: where there are very many range tombstones only some are
 * looked at, those of different runs that overlap are counted twice, and single tombstones among the
 * keys are counted as keys.
 */
import type { Span } from "../cursor/spans.ts";
import type { RangeTombstones } from "../segment/range-tombstones.ts";
import type { Segment } from "../segment/reader.ts";

/** Range tombstones of a run that are looked at: each costs two look-ups, microseconds in all. */
const MAX_LOOKED_AT = 256;

/** Keys of the oldest run that range tombstones of newer runs cover, about. */
export function estimateRangeDeleted(
  runs: readonly (readonly Segment[])[],
  rangeTombstones: readonly (RangeTombstones | undefined)[],
): number {
  const oldest = runs.at(-1) ?? [];
  let deleted = 0;
  for (const spans of rangeTombstones.slice(0, -1)) {
    if (spans !== undefined) deleted += countCovered(oldest, spans);
  }
  return deleted;
}

function countCovered(run: readonly Segment[], spans: RangeTombstones): number {
  const stride = Math.ceil(spans.count / MAX_LOOKED_AT);
  let covered = 0;
  for (let i = 0; i < spans.count; i += stride) {
    const span = spans.at(i);
    for (const segment of run) covered += countWithin(segment, span);
  }
  return covered * stride;
}

function countWithin(segment: Segment, { start, end }: Span): number {
  const before = segment.rank(start, start.length);
  return (end === undefined ? segment.meta.keyCount : segment.rank(end, end.length)) - before;
}
