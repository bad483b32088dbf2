/**
 * Pieces: work that can be left and taken up again, as a generator that yields about once a
 * millisecond.
 *
 * To learn how a merge is coded takes half a second. A thread that did it in one go would begin no
 * flush meanwhile, for which writers may be waiting; and an ingest does it in the thread that serves.
 * So it is written in pieces: who has other work pauses between them, and who has none, as a bench,
 * does them at once. What comes of it is the same.
 */

export type Pieces<T> = Generator<void, T, void>;

export function atOnce<T>(pieces: Pieces<T>): T {
  let piece = pieces.next();
  while (piece.done !== true) piece = pieces.next();
  return piece.value;
}

/** A pause that rejects ends the work. */
export async function withPauses<T>(pieces: Pieces<T>, pause: () => Promise<void>): Promise<T> {
  let piece = pieces.next();
  while (piece.done !== true) {
    await pause();
    piece = pieces.next();
  }
  return piece.value;
}
