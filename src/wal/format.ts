/**
 * Byte layout of a write-ahead log: a header, then records up to the end. Only this file knows these
 * offsets.
 *
 * Header
 * offset 0       8         12         16           32           40               48            56      60
 *        +-------+---------+----------+------------+------------+----------------+-------------+-------+
 *        | magic | version | reserved | databaseId | fileNumber | previousNumber | previousEnd | xxh32 |
 *        +-------+---------+----------+------------+------------+----------------+-------------+-------+
 * magic           8 bytes "memkvwal"
 * version         u32 LE   FORMAT_VERSION
 * reserved        u32 LE   zero
 * databaseId      16 bytes
 * fileNumber      u53 LE   in 8 bytes; never 0
 * previousNumber  u53 LE   in 8 bytes: the log before this one, or 0 if there is none
 * previousEnd     u53 LE   in 8 bytes: how far the records of the log before went when this one was
 *                          created; 0 if there is none
 * xxh32           u32 LE   of every byte before it
 *
 * Record: one commit group
 * offset 0       4        8         12     13      16                16 + length
 *        +-------+--------+---------+------+-------+-----------------+
 *        | xxh32 | length | durable | type | check | payload         |
 *        +-------+--------+---------+------+-------+-----------------+
 * xxh32    u32 LE   of every byte after it, plus the record's salt, modulo 2^32
 * length   u32 LE   bytes of payload, at least 1; a log has at most MAX_LOG_BYTES
 * durable  u32 LE   bytes of this log that were known to be synced when the record was written; at
 *                   most the record's own offset
 * type     u8       RECORD_TYPE; 0 is never written, so that zeroed space is not a record
 * check    u24 LE   of length, durable, type and the salt
 *
 * The salt is computed from the database's id, the file's number and the record's offset, and is not
 * stored. So a record is only believed at the place it was written to: not in another log, not in
 * another database, and not inside the payload of a record that holds a copy of a log.
 *
 * `check` guards the length before anything is read or allocated by it, and lets a scan for records
 * in damaged bytes turn down all but one false start in 2^24 without reading their payloads.
 *
 * `durable` is what tells damage from a loss that is legal after a crash (see reader.ts).
 */
import { checksum } from "../bytes/checksum.ts";
import { readU32, readU53, writeU32, writeU53 } from "../bytes/fixed.ts";
import type { FileIdentity } from "../entry.ts";

/** On disk: never change or reuse a number. */
export const FORMAT_VERSION = 1;

const MAGIC: Uint8Array = new TextEncoder().encode("memkvwal");
const DATABASE_ID_BYTES = 16;

const VERSION_OFFSET: number = MAGIC.length;
const RESERVED_OFFSET: number = VERSION_OFFSET + 4;
const DATABASE_ID_OFFSET: number = RESERVED_OFFSET + 4;
const FILE_NUMBER_OFFSET: number = DATABASE_ID_OFFSET + DATABASE_ID_BYTES;
const PREVIOUS_NUMBER_OFFSET: number = FILE_NUMBER_OFFSET + 8;
const PREVIOUS_END_OFFSET: number = PREVIOUS_NUMBER_OFFSET + 8;
const HEADER_CHECKSUM_OFFSET: number = PREVIOUS_END_OFFSET + 8;
export const HEADER_BYTES: number = HEADER_CHECKSUM_OFFSET + 4;

const CHECKSUM_OFFSET = 0;
const LENGTH_OFFSET: number = CHECKSUM_OFFSET + 4;
const DURABLE_OFFSET: number = LENGTH_OFFSET + 4;
const TYPE_OFFSET: number = DURABLE_OFFSET + 4;
const CHECK_OFFSET: number = TYPE_OFFSET + 1;
export const RECORD_HEADER_BYTES: number = CHECK_OFFSET + 3;

/** On disk: never change or reuse a number. */
const RECORD_TYPE = 1;

/** A log is never longer, so that offsets in it fit a u32. */
export const MAX_LOG_BYTES: number = 2 ** 32 - 1;

/** The log before another one, and how far its records went, synced, when that one was created. */
export interface PreviousLog {
  readonly fileNumber: number;
  readonly end: number;
}

/** What a header says. */
export interface LogHeader {
  readonly version: number;
  readonly identity: FileIdentity;
  /** Undefined in the first log of a database. */
  readonly previous: PreviousLog | undefined;
}

export function encodeHeader(
  identity: FileIdentity,
  previous: PreviousLog | undefined,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(MAGIC);
  writeU32(bytes, VERSION_OFFSET, FORMAT_VERSION);
  bytes.set(identity.databaseId, DATABASE_ID_OFFSET);
  writeU53(bytes, FILE_NUMBER_OFFSET, identity.fileNumber);
  writeU53(bytes, PREVIOUS_NUMBER_OFFSET, previous?.fileNumber ?? 0);
  writeU53(bytes, PREVIOUS_END_OFFSET, previous?.end ?? 0);
  writeU32(bytes, HEADER_CHECKSUM_OFFSET, checksum(bytes, 0, HEADER_CHECKSUM_OFFSET));
  return bytes;
}

/**
 * Decodes a header of any version, whose layout is the same for good; undefined where the bytes are
 * no header, or are damaged. The caller compares version and identity with what it expects.
 */
export function decodeHeader(bytes: Uint8Array): LogHeader | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) return undefined;
  if (readU32(bytes, HEADER_CHECKSUM_OFFSET) !== checksum(bytes, 0, HEADER_CHECKSUM_OFFSET)) {
    return undefined;
  }
  const fileNumber = readU53(bytes, FILE_NUMBER_OFFSET);
  const previousNumber = readU53(bytes, PREVIOUS_NUMBER_OFFSET);
  const previousEnd = readU53(bytes, PREVIOUS_END_OFFSET);
  if (readU32(bytes, RESERVED_OFFSET) !== 0 || fileNumber === 0) return undefined;
  const numbers = [fileNumber, previousNumber, previousEnd];
  if (!numbers.every(Number.isSafeInteger) || previousNumber >= fileNumber) return undefined;
  return {
    version: readU32(bytes, VERSION_OFFSET),
    identity: {
      databaseId: bytes.slice(DATABASE_ID_OFFSET, DATABASE_ID_OFFSET + DATABASE_ID_BYTES),
      fileNumber,
    },
    previous: previousNumber === 0 ? undefined : { fileNumber: previousNumber, end: previousEnd },
  };
}

/** The part of the salt that all records of a log share. */
export function logSalt({ databaseId, fileNumber }: FileIdentity): number {
  // The multiplication spreads the number over all bits; as it is odd, no two numbers below 2^32
  // give one salt.
  return (checksum(databaseId) + Math.imul(fileNumber, 0x9e3779b1)) >>> 0;
}

function recordSalt(salt: number, offset: number): number {
  return (salt ^ Math.imul(offset + 1, 0x85ebca77)) >>> 0;
}

/**
 * Writes the frame into the first RECORD_HEADER_BYTES of `record`, whose bytes up to `length` are the
 * record's. `offset` is where in the log it will be written, `durable` how much of the log is synced.
 */
export function frameRecord(
  record: Uint8Array,
  length: number,
  salt: number,
  offset: number,
  durable: number,
): void {
  const payloadLength = length - RECORD_HEADER_BYTES;
  const ownSalt = recordSalt(salt, offset);
  writeU32(record, LENGTH_OFFSET, payloadLength);
  writeU32(record, DURABLE_OFFSET, durable);
  const check = checkOf(payloadLength, durable, RECORD_TYPE, ownSalt);
  writeU32(record, TYPE_OFFSET, RECORD_TYPE | (check << 8));
  const sum = checksum(record, LENGTH_OFFSET, length) + ownSalt;
  writeU32(record, CHECKSUM_OFFSET, sum >>> 0);
}

/**
 * Length of the payload of the record whose frame is at `pos`, and which is at `offset` of a log of
 * `logBytes`; -1 if there is no frame, or one that cannot be true. Its payload is not checked.
 */
export function framedLength(
  bytes: Uint8Array,
  pos: number,
  salt: number,
  offset: number,
  logBytes: number,
): number {
  if (bytes[pos + TYPE_OFFSET] !== RECORD_TYPE) return -1;
  const length = readU32(bytes, pos + LENGTH_OFFSET);
  const durable = readU32(bytes, pos + DURABLE_OFFSET);
  const check = readU32(bytes, pos + TYPE_OFFSET) >>> 8;
  if (length === 0 || length > logBytes - offset - RECORD_HEADER_BYTES) return -1;
  if (durable > offset) return -1;
  return check === checkOf(length, durable, RECORD_TYPE, recordSalt(salt, offset)) ? length : -1;
}

/** Whether the record at `pos`, of which `framedLength` told the payload's length, is whole. */
export function isWhole(
  bytes: Uint8Array,
  pos: number,
  salt: number,
  offset: number,
  payloadLength: number,
): boolean {
  const end = pos + RECORD_HEADER_BYTES + payloadLength;
  const sum = checksum(bytes, pos + LENGTH_OFFSET, end) + recordSalt(salt, offset);
  return readU32(bytes, pos + CHECKSUM_OFFSET) === sum >>> 0;
}

/** How much of the log was synced when the record at `pos` was written. */
export function durableOf(bytes: Uint8Array, pos: number): number {
  return readU32(bytes, pos + DURABLE_OFFSET);
}

/** 24 bits of a hash of the frame: the finalizer of MurmurHash3 over its fields. */
function checkOf(length: number, durable: number, type: number, salt: number): number {
  let hash = mix(salt ^ length);
  hash = mix(hash ^ durable);
  hash = mix(hash ^ type);
  return hash >>> 8;
}

function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
