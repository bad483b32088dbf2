/**
 * xxHash32 of a range of bytes: the checksum of every unit that memkv reads back.
 *
 * Two implementations of one function. WebAssembly (xxhash-wasm) hashes 4 GB/s but costs 100 ns a
 * call and can only be loaded asynchronously; the JavaScript below hashes 1 GB/s, costs nothing to
 * call and is always there. So short ranges, and everything before `loadChecksum` has resolved, go
 * through JavaScript. They agree on every input (test/bytes/checksum.test.ts). WebAssembly hashes
 * copies in a memory of its own, which never shrinks; so long ranges go through it piece by piece.
 *
 * Source: Yann Collet, xxHash, "xxHash fast digest algorithm", section XXH32.
 */
import xxhash from "xxhash-wasm";

/** Below this many bytes JavaScript is faster: 80 against 130 ns at 70 bytes, 200 against 140 at 256. */
const WASM_MIN_BYTES = 128;

/**
 * Longer ranges are hashed in pieces of this size: with the state of a hash before it, what the memory
 * of the module has room for. To grow it would detach its buffer, and once a process has detached any,
 * V8 checks at each access to an array buffer whether that one is: decoding takes a fourth longer.
 */
export const PIECE_BYTES: number = 65_536 - 64;

let wasm: Awaited<ReturnType<typeof xxhash>> | undefined;
let loading: Promise<void> | undefined;

/**
 * Loads the fast implementation. Idempotent; never needed for a right answer, only for speed. Never
 * rejects, so that other work can be done meanwhile.
 */
export function loadChecksum(): Promise<void> {
  loading ??= load();
  return loading;
}

async function load(): Promise<void> {
  try {
    wasm = await xxhash();
  } catch {
    // A process without WebAssembly (node --jitless) has the other one.
  }
}

/** xxHash32 (seed 0) of bytes[start, end), as a u32. */
export function checksum(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  if (wasm === undefined || end - start < WASM_MIN_BYTES) return hash(bytes, start, end);
  if (end - start <= PIECE_BYTES) return wasm.h32Raw(bytes.subarray(start, end)) >>> 0;
  const state = wasm.create32();
  for (let pos = start; pos < end; pos += PIECE_BYTES) {
    state.update(bytes.subarray(pos, Math.min(end, pos + PIECE_BYTES)));
  }
  return state.digest() >>> 0;
}

const PRIME_1 = 0x9e3779b1 | 0;
const PRIME_2 = 0x85ebca77 | 0;
const PRIME_3 = 0xc2b2ae3d | 0;
const PRIME_4 = 0x27d4eb2f | 0;
const PRIME_5 = 0x165667b1 | 0;

function hash(bytes: Uint8Array, start: number, end: number): number {
  let pos = start;
  let h = PRIME_5;
  if (end - start >= 16) {
    let a = (PRIME_1 + PRIME_2) | 0;
    let b = PRIME_2;
    let c = 0;
    let d = -PRIME_1 | 0;
    for (const last = end - 16; pos <= last; pos += 16) {
      a = round(a, word(bytes, pos));
      b = round(b, word(bytes, pos + 4));
      c = round(c, word(bytes, pos + 8));
      d = round(d, word(bytes, pos + 12));
    }
    h = (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0;
  }
  h = (h + (end - start)) | 0;
  for (; pos + 4 <= end; pos += 4) {
    h = Math.imul(rotate((h + Math.imul(word(bytes, pos), PRIME_3)) | 0, 17), PRIME_4);
  }
  for (; pos < end; pos++) {
    h = Math.imul(rotate((h + Math.imul(bytes[pos], PRIME_5)) | 0, 11), PRIME_1);
  }
  h = Math.imul(h ^ (h >>> 15), PRIME_2);
  h = Math.imul(h ^ (h >>> 13), PRIME_3);
  return (h ^ (h >>> 16)) >>> 0;
}

function round(lane: number, input: number): number {
  return Math.imul(rotate((lane + Math.imul(input, PRIME_2)) | 0, 13), PRIME_1);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function word(bytes: Uint8Array, pos: number): number {
  return bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24);
}
