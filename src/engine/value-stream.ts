/**
 * valueStream: the bytes of one value as a web ReadableStream, for values too large to be held whole.
 *
 * The stream reads when it is pulled, a chunk of at most 64 KiB at a time, and keeps the moment of
 * its value pinned until it ends, fails or is cancelled, so that neither overwriting the key nor a
 * compaction disturbs it. Each chunk is checked against its checksum before it is handed out.
 */
import type { ChunkReader } from "../segment/value-log.ts";
import { toUserError } from "./io-error.ts";
import type { Pin } from "./iteration.ts";

/** Bytes of each piece of a value that is in memory. */
const PIECE_BYTES = 65_536;

/** A value's next bytes, each time in an array of their own; undefined behind the last. */
type NextPiece = () => Uint8Array | undefined;

/** Streams bytes that stay as they are while `pin` is held, or the chunks of a value in a value log. */
export function valueStream(value: Uint8Array | ChunkReader, pin: Pin): ReadableStream<Uint8Array> {
  const next = value instanceof Uint8Array ? piecesOf(value) : chunksOf(value);
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller): void {
        try {
          pin.checkOpen();
          const piece = next();
          if (piece !== undefined) {
            controller.enqueue(piece);
            return;
          }
          pin.release();
          controller.close();
        } catch (error) {
          pin.release();
          controller.error(toUserError(error, "read"));
        }
      },
      cancel(): void {
        pin.release();
      },
    },
    // Nothing is read ahead of who reads the stream.
    { highWaterMark: 0 },
  );
  pin.watch(stream);
  return stream;
}

function piecesOf(value: Uint8Array): NextPiece {
  let pos = 0;
  return () => {
    if (pos === value.length) return undefined;
    const start = pos;
    pos = Math.min(value.length, start + PIECE_BYTES);
    return value.slice(start, pos);
  };
}

function chunksOf(chunks: ChunkReader): NextPiece {
  return () => {
    if (!chunks.next()) return undefined;
    const piece = new Uint8Array(chunks.valueEnd - chunks.valueStart);
    chunks.decodeInto(piece);
    return piece;
  };
}
