/**
 * The bytes of a frozen layer: a file header, a symbol table, the states of the transducer, and
 * (where the layer has values of its own) a packed column of values.
 *
 * What it is. A finite state transducer is a machine that reads a key byte by byte and walks from
 * state to state. A key is in the set if the walk never gets stuck and ends in a final state. Keys
 * that begin alike walk the same states (as in a trie), and keys that *end* alike share states as
 * well, since two states from which the same endings lead to a final state are one state: that is
 * what "minimal" means, and why a million URLs that end in ".git" store it once. The transducer
 * also yields a number: the rank of the key in the set, its ordinal. A state knows how many keys
 * lie below each of its transitions; adding up those of the transitions passed by on the left,
 * and one for every final state passed through, counts the keys that sort before. The counts below
 * a state depend on nothing above it, so they never keep two states from being one; any other
 * output would (that is why values live in a column beside the states, found by ordinal).
 *
 * Worked example: the keys "cat", "cats", "dot", "dots", "pot" (ordinals 0 to 4).
 *
 * ```
 *         c:0 ─► ( ) ─ a ───┐
 *        /                  ▼
 *   root ─ d:2 ─► ( ) ─ o ─► ( ) ─ t ─► ((x)) ─ s ─► ((end))
 *        \                                           ▲
 *         p:4 ─► ( ) ─ o ─► ( ) ─ t ─────────────────┘
 * ```
 *
 * "((x))" is final: "cat" and "dot" end there, and "cats" and "dots" go on. c:0, d:2 and p:4 are
 * the counts of keys before each branch. The walk for "dots" takes d (adds 2), o, t, passes the
 * final state x (adds 1), takes s, and ends: ordinal 3. Which bytes these states become:
 *
 * ```
 * offset  bytes          element
 * 0       d1             BRANCH of 3, offsets of 1 byte, counts of 1 byte
 * 1       63 64 70       labels c, d, p
 * 4       07 02          c leads 6 bytes after the end of the branch, to 14; 2 keys before d
 * 6       04 04          d leads 3 bytes after the end of the branch, to 11; 4 keys before p
 * 8       6f 74 be       "o", "t", END              p leads here, for it is the last
 * 11      6f b8 01       "o", GOTO 1 byte further   d leads here
 * 14      61             "a"                        c leads here
 * 15      74 bd 73 be    "t", FINAL, "s", END       what "ca" and "do" share
 * ```
 *
 * File. Integers are little-endian. The four parts follow each other without gaps.
 *
 * ```
 * offset 0      8         12      16         20          24            28           32
 *        +------+---------+-------+----------+-----------+-------------+------------+----
 *        | magic| version | flags | keyCount | longestKey| symbolBytes | stateBytes |
 *        +------+---------+-------+----------+-----------+-------------+------------+----
 *        32           40       44         48
 *    ----+------------+--------+----------+---------+--------+--------+
 *        | valueBytes | bodySum| headerSum| symbols | states | values |
 *    ----+------------+--------+----------+---------+--------+--------+
 * magic        8 bytes  "memkvFST"
 * version      u32      1
 * flags        u32      bit 0: there is a values part; all others zero
 * keyCount     u32      at most MAX_KEY_COUNT
 * longestKey   u32      bytes of the longest key, at most MAX_KEY_BYTES
 * symbolBytes  u32      at most MAX_SYMBOL_TABLE_BYTES; 0: each symbol is the byte it is
 * stateBytes   u32      at most MAX_STATE_BYTES
 * valueBytes   u53      see values.ts; 0 unless flag 0 is set
 * bodySum      u32      xxh32 of symbols, states and values
 * headerSum    u32      xxh32 of bytes 0 to 44
 * symbols      count u8, then a length u8 (1 to 8) for each, then the bytes of each in turn
 * ```
 *
 * States. The root is at offset 0. A state is written as elements, one after the other, and what
 * follows an element is where its (last) transition leads, so that most transitions cost no
 * address. All addresses point forward: a walk ends, whatever the bytes.
 *
 * ```
 * 00..b7  SYMBOL            takes the bytes of that symbol, one after the other
 * b8..bb  GOTO   offset     goes on at the end of this element + offset (of 1..4 bytes)
 * bc      ESCAPE byte       takes one byte, which no symbol is
 * bd      FINAL             a key ends here, and others go on
 * be      END               a key ends here, and no other goes on
 * bf                        never written
 * c0..ff  BRANCH            takes one byte of several; 11nnwwcc:
 *
 *         +----------+-------+----------+----------------+----------------+-----
 *         | 11nnwwcc | [n-2] | n labels | offset 0, of w | count 1, of c  | ...  n - 1 of each
 *         +----------+-------+----------+----------------+----------------+-----
 * nn      0, 1, 2: n is 2, 3, 4; 3: the next byte is n - 2
 * ww      w - 1, with w = 1..4 bytes
 * cc      0, 1, 2, 3: c is 0, 1, 2, 4 bytes
 * label   ascending
 * offset  of transition 0..n-2: 0 leads to END; else to the end of this element + offset - 1.
 *         Transition n-1 leads to the end of this element.
 * count   of transition 1..n-1: keys below the transitions before it. Where c is 0, each has one.
 * ```
 *
 * A byte from 00 to b7 stands for itself as long as there is no symbol table. The table replaces
 * these by up to 184 strings of 1 to 8 bytes chosen for the layer; see packer.ts.
 *
 * Sources: J. Daciuk, S. Mihov, B. Watson and R. Watson, "Incremental Construction of Minimal
 * Acyclic Finite-State Automata" (2000); C. Lucchesi and T. Kowaltowski, "Applications of Finite
 * Automata Representing Large Vocabularies" (1993) for the counts; the layout of adjacent states is
 * that of Lucene's FST and of Rust's fst crate, with the address left out of every last transition.
 */
import { checksum } from "../bytes/checksum.ts";
import { readU32, readU53, writeU32, writeU53 } from "../bytes/fixed.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { CorruptionError, UnsupportedVersionError } from "../errors.ts";

/** "memkvFST". On disk: never change. */
const MAGIC: readonly number[] = [0x6d, 0x65, 0x6d, 0x6b, 0x76, 0x46, 0x53, 0x54];

const FORMAT_VERSION = 1;

const VERSION_OFFSET = 8;
const FLAGS_OFFSET = 12;
const KEY_COUNT_OFFSET = 16;
const LONGEST_KEY_OFFSET = 20;
const SYMBOL_BYTES_OFFSET = 24;
const STATE_BYTES_OFFSET = 28;
const VALUE_BYTES_OFFSET = 32;
const BODY_SUM_OFFSET = 40;
const HEADER_SUM_OFFSET = 44;
export const HEADER_BYTES = 48;

const FLAG_VALUES = 1;

/** Ordinals and counts are 32-bit integers, which JavaScript adds without leaving the registers. */
export const MAX_KEY_COUNT: number = 2 ** 31 - 1;

/** Addresses are 32-bit integers for the same reason. */
export const MAX_STATE_BYTES: number = 2 ** 31 - 1;

/** A symbol fits two words of four bytes, which a cursor writes at once. */
export const MAX_SYMBOL_BYTES = 8;

/** Elements. On disk: never change or reuse a number. Below `GOTO` an element is a symbol. */
export const GOTO = 0xb8;
export const ESCAPE = 0xbc;
export const FINAL = 0xbd;
export const END = 0xbe;
export const BRANCH = 0xc0;

/** Widths in bytes of the counts of a branch, by the two bits `cc`. */
export const COUNT_WIDTHS: readonly number[] = [0, 1, 2, 4];

/** Symbols there can be: every element below GOTO. */
export const MAX_SYMBOLS: number = GOTO;

const MAX_SYMBOL_TABLE_BYTES = 1 + MAX_SYMBOLS * (1 + MAX_SYMBOL_BYTES);

export interface Header {
  readonly hasValues: boolean;
  readonly keyCount: number;
  readonly longestKeyBytes: number;
  readonly symbolBytes: number;
  readonly stateBytes: number;
  readonly valueBytes: number;
}

/** Writes the header before a body that is already in place, with the sums of both. */
export function writeHeader(bytes: Uint8Array, header: Header): void {
  bytes.set(MAGIC, 0);
  writeU32(bytes, VERSION_OFFSET, FORMAT_VERSION);
  writeU32(bytes, FLAGS_OFFSET, header.hasValues ? FLAG_VALUES : 0);
  writeU32(bytes, KEY_COUNT_OFFSET, header.keyCount);
  writeU32(bytes, LONGEST_KEY_OFFSET, header.longestKeyBytes);
  writeU32(bytes, SYMBOL_BYTES_OFFSET, header.symbolBytes);
  writeU32(bytes, STATE_BYTES_OFFSET, header.stateBytes);
  writeU53(bytes, VALUE_BYTES_OFFSET, header.valueBytes);
  writeU32(bytes, BODY_SUM_OFFSET, checksum(bytes, HEADER_BYTES));
  writeU32(bytes, HEADER_SUM_OFFSET, checksum(bytes, 0, HEADER_SUM_OFFSET));
}

/**
 * Reads the header and checks all of it: the magic, the version, its own sum, each length against
 * its limit, and that the parts are as long as the file. Throws CorruptionError or
 * UnsupportedVersionError.
 */
export function readHeader(bytes: Uint8Array, file: string): Header {
  if (bytes.length < HEADER_BYTES) {
    throw damaged(file, 0, `at least ${HEADER_BYTES} bytes`, `${bytes.length}`);
  }
  for (let i = 0; i < MAGIC.length; i++) {
    if (bytes[i] !== MAGIC[i]) throw damaged(file, i, "the magic memkvFST", `byte ${bytes[i]}`);
  }
  const version = readU32(bytes, VERSION_OFFSET);
  if (version > FORMAT_VERSION) throw new UnsupportedVersionError(file, version, FORMAT_VERSION);
  if (version !== FORMAT_VERSION) {
    throw damaged(file, VERSION_OFFSET, `version ${FORMAT_VERSION}`, `${version}`);
  }
  checkSum(bytes, 0, HEADER_SUM_OFFSET, HEADER_SUM_OFFSET, file);
  const flags = readU32(bytes, FLAGS_OFFSET);
  const header = {
    hasValues: flags === FLAG_VALUES,
    keyCount: readU32(bytes, KEY_COUNT_OFFSET),
    longestKeyBytes: readU32(bytes, LONGEST_KEY_OFFSET),
    symbolBytes: readU32(bytes, SYMBOL_BYTES_OFFSET),
    stateBytes: readU32(bytes, STATE_BYTES_OFFSET),
    valueBytes: readU53(bytes, VALUE_BYTES_OFFSET),
  };
  checkLimit(flags, FLAG_VALUES, "flags", FLAGS_OFFSET, file);
  checkLimit(header.keyCount, MAX_KEY_COUNT, "keys", KEY_COUNT_OFFSET, file);
  checkLimit(header.longestKeyBytes, MAX_KEY_BYTES, "bytes of a key", LONGEST_KEY_OFFSET, file);
  checkLimit(
    header.symbolBytes,
    MAX_SYMBOL_TABLE_BYTES,
    "bytes of symbols",
    SYMBOL_BYTES_OFFSET,
    file,
  );
  checkLimit(header.stateBytes, MAX_STATE_BYTES, "bytes of states", STATE_BYTES_OFFSET, file);
  const length = HEADER_BYTES + header.symbolBytes + header.stateBytes + header.valueBytes;
  if (length !== bytes.length) throw damaged(file, 0, `${length} bytes`, `${bytes.length}`);
  return header;
}

/** Checks the sum of everything after a header that was read. Throws CorruptionError. */
export function checkBody(bytes: Uint8Array, file: string): void {
  checkSum(bytes, HEADER_BYTES, bytes.length, BODY_SUM_OFFSET, file);
}

/** An error for bytes that hold no frozen layer, or not the one that was written. */
export function damaged(
  file: string,
  offset: number,
  expected: string,
  actual: string,
): CorruptionError {
  return new CorruptionError("damaged frozen layer", { file, offset, expected, actual });
}

function checkSum(
  bytes: Uint8Array,
  start: number,
  end: number,
  sumOffset: number,
  file: string,
): void {
  const expected = readU32(bytes, sumOffset);
  const actual = checksum(bytes, start, end);
  if (actual !== expected) {
    throw damaged(file, start, `checksum ${expected.toString(16)}`, actual.toString(16));
  }
}

function checkLimit(
  value: number,
  limit: number,
  what: string,
  offset: number,
  file: string,
): void {
  if (value > limit) throw damaged(file, offset, `at most ${limit} ${what}`, `${value}`);
}
