/**
 * The condition of a write that is to happen only where its key has a certain value, or none.
 */
import { compareBytes, compareRanges } from "../bytes/compare.ts";
import { ValueView } from "../cursor/value-view.ts";
import type { ValueCodec } from "../encoding/value-codec.ts";
import { keyHash } from "../segment/filter.ts";
import type { Codecs } from "./codecs.ts";
import { type Condition, toMapKey } from "./group-writes.ts";
import { Found, findValue, hasKey } from "./reads.ts";
import type { Store } from "./store.ts";

/** That the key has the value, or is not there if that is undefined. */
export function hasValue<K, V>(
  store: Pick<Store, "sources" | "visibleSeqno" | "clockTime">,
  codecs: Codecs<K, V>,
  key: K,
  value: V | undefined,
): Condition {
  const { key: keyCodec, value: valueCodec } = codecs;
  const expected = value === undefined ? undefined : new Uint8Array(valueCodec.encode(value));
  const length = keyCodec.encode(key);
  const bytes = new Uint8Array(keyCodec.buffer.subarray(0, length));
  const mapKey = toMapKey(bytes, 0, length);
  return (earlier) => {
    const { sources, visibleSeqno } = store;
    // What stands before the write in its group may be the first that expires.
    const time = store.clockTime;
    if (expected === undefined) {
      if (earlier.has(mapKey)) return earlier.valueOf(mapKey, time) === undefined;
      return !hasKey(sources, visibleSeqno, time, bytes, length);
    }
    if (earlier.has(mapKey)) {
      const actual = earlier.valueOf(mapKey, time);
      return actual !== undefined && isEncodedAs(actual, 0, actual.length, expected, valueCodec);
    }
    const found = new ValueView();
    const hash = keyHash(bytes, length);
    const outcome = findValue(sources, visibleSeqno, time, bytes, length, hash, found);
    if (outcome === Found.nothing) return false;
    return isEncodedAs(found.bytes, found.start, found.end, expected, valueCodec);
  };
}

/**
 * Whether the value of bytes[start, end) is the one that is encoded as `expected`: be it because it is
 * stored as that, or because it comes back as that from `get`, which gives a Uint8Array for a Buffer.
 */
function isEncodedAs<V>(
  bytes: Uint8Array,
  start: number,
  end: number,
  expected: Uint8Array,
  codec: ValueCodec<V>,
): boolean {
  if (compareRanges(expected, 0, expected.length, bytes, start, end) === 0) return true;
  // The user's code may do anything, so it is not called in the middle of a commit.
  if (codec.runsUserCode) return false;
  return compareBytes(expected, codec.encode(codec.decode(bytes, start, end))) === 0;
}
