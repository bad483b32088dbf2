import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { writeU53 } from "../../src/bytes/fixed.ts";
import type { Span } from "../../src/cursor/spans.ts";
import { EntryKind, MAX_SEQNO, NEVER } from "../../src/entry.ts";
import { CorruptionError } from "../../src/errors.ts";
import { type OperationTarget, RecordBuilder, RecordReader } from "../../src/wal/batch.ts";
import { RECORD_HEADER_BYTES } from "../../src/wal/format.ts";

interface EntryOperation {
  readonly kind: EntryKind;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly expiry: number;
}

const NO_BYTES = new Uint8Array(0);

type Operation = EntryOperation | Span;

/** What a record's operations are handed to. */
class Collector implements OperationTarget {
  readonly operations: (Operation & { readonly seqno: number })[] = [];

  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): void {
    this.operations.push({
      seqno,
      kind,
      key: key.slice(keyStart, keyEnd),
      value: value.slice(valueStart, valueEnd),
      expiry,
    });
  }

  deleteRange(start: Uint8Array, end: Uint8Array | undefined, seqno: number): void {
    this.operations.push({ seqno, start, end });
  }
}

function append(record: RecordBuilder, operation: Operation): void {
  if ("start" in operation) {
    record.deleteRange(operation);
  } else {
    const { kind, key, value, expiry } = operation;
    if (kind === EntryKind.put) record.put(key, key.length, value, expiry);
    else record.delete(key, key.length);
  }
}

/** The payload of a record of the operations, which the log would frame. */
function payloadOf(operations: readonly Operation[], firstSeqno = 1): Uint8Array {
  const record = new RecordBuilder();
  for (const operation of operations) append(record, operation);
  record.number(firstSeqno);
  return record.writer.bytes.slice(RECORD_HEADER_BYTES);
}

function read(payload: Uint8Array): Collector["operations"] {
  const collector = new Collector();
  new RecordReader(payload, "a.wal", 1000).apply(collector);
  return collector.operations;
}

function keyBytes(operation: Operation): number {
  if ("key" in operation) return operation.key.length;
  return operation.start.length + (operation.end?.length ?? 0);
}

function valueBytes(operation: Operation): number {
  if (!("value" in operation)) return 0;
  return operation.value.length + (operation.expiry === NEVER ? 0 : 8);
}

const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    kind: fc.constant(EntryKind.put),
    key: fc.uint8Array({ maxLength: 200 }),
    value: fc.uint8Array({ maxLength: 300 }),
    expiry: fc.oneof(fc.constant(NEVER), fc.constantFrom(1, 2 ** 32, NEVER - 1)),
  }),
  fc.record({
    kind: fc.constant(EntryKind.tombstone),
    key: fc.uint8Array({ maxLength: 200 }),
    value: fc.constant(new Uint8Array(0)),
    expiry: fc.constant(NEVER),
  }),
  fc.record({
    start: fc.uint8Array({ maxLength: 200 }),
    end: fc.option(fc.uint8Array({ maxLength: 200 }), { nil: undefined }),
  }),
);

describe("a commit record", () => {
  test("gives back its operations in order, numbered from the first", () => {
    fc.assert(
      fc.property(
        fc.array(anyOperation),
        fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constant(MAX_SEQNO - 100)),
        (operations, firstSeqno) => {
          const payload = payloadOf(operations, firstSeqno);
          const reader = new RecordReader(payload, "a.wal", 0);
          expect(reader.firstSeqno).toBe(firstSeqno);
          expect(reader.operationCount).toBe(operations.length);
          const content = operations.reduce((sum, o) => sum + keyBytes(o) + valueBytes(o), 0);
          expect(reader.contentBytes).toBeGreaterThanOrEqual(content);
          expect(read(payload)).toEqual(
            operations.map((operation, i) => ({ ...operation, seqno: firstSeqno + i })),
          );
        },
      ),
    );
  });

  test("counts the bytes of its keys and values, and takes back what is rewound", () => {
    fc.assert(
      fc.property(fc.array(anyOperation), fc.array(anyOperation), (kept, undone) => {
        const record = new RecordBuilder();
        for (const operation of kept) append(record, operation);
        const mark = record.mark();
        for (const operation of undone) append(record, operation);
        record.rewind(mark);
        expect(record.mark()).toEqual(mark);
        expect(record.operationCount).toBe(kept.length);
        expect(record.keyBytes).toBe(kept.reduce((sum, o) => sum + keyBytes(o), 0));
        expect(record.valueBytes).toBe(kept.reduce((sum, o) => sum + valueBytes(o), 0));
        for (const operation of undone) append(record, operation);
        record.number(7);
        const payload = record.writer.bytes.slice(RECORD_HEADER_BYTES);
        expect(payload).toEqual(payloadOf([...kept, ...undone], 7));
      }),
    );
  });

  const whole = payloadOf([
    { kind: EntryKind.put, key: Uint8Array.of(1, 2, 3), value: Uint8Array.of(4, 5), expiry: NEVER },
    { kind: EntryKind.tombstone, key: Uint8Array.of(6), value: new Uint8Array(0), expiry: NEVER },
  ]);

  test("makes room at once for operations like the first, and for no more than a buffer's worth", () => {
    const record = new RecordBuilder();
    const start = record.mark();
    const key = Uint8Array.of(1, 2, 3);
    const value = new Uint8Array(1000);
    for (let i = 0; i < 10; i++) record.put(key, key.length, value, NEVER);
    record.expect(990, start);
    const { buffer } = record.writer;
    expect(buffer.length).toBeLessThan(1.2e6);
    for (let i = 10; i < 1000; i++) record.put(key, key.length, value, NEVER);
    expect(record.writer.buffer).toBe(buffer);
    record.expect(2 ** 22, start);
    expect(record.writer.buffer.length).toBeLessThan(2 ** 25);
    expect(record.operationCount).toBe(1000);
  });

  test("cut off anywhere is damage", () => {
    for (let length = 0; length < whole.length; length++) {
      expect(() => read(whole.subarray(0, length)), `${length} bytes`).toThrow(CorruptionError);
    }
    expect(read(whole)).toHaveLength(2);
  });

  test("with bytes behind its end is damage", () => {
    expect(() => read(Uint8Array.of(...whole, 0))).toThrow(CorruptionError);
  });

  const HEAD = 12;
  const damaged: [string, number, number[]][] = [
    ["sequence number 0", 0, [0, 0, 0, 0, 0, 0, 0, 0]],
    ["a sequence number above 2^53", 0, [0, 0, 0, 0, 0, 0, 0x20, 0]],
    ["a count below the operations there are", 8, [1]],
    ["a count above them", 8, [3]],
    ["a count of four billion", 8, [255, 255, 255, 255]],
    ["an unknown kind", HEAD, [9]],
    ["kind 0", HEAD, [0]],
    ["a key longer than the record", HEAD + 1, [100]],
    ["a key length without an end", HEAD + 1, [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]],
    ["a value longer than the record", HEAD + 5, [100]],
    ["an end of a range longer than the record", HEAD, [3, 0, 100]],
    ["an expiry longer than the record", HEAD, [4, 10]],
  ];

  test.each(damaged)("with %s is damage that says where", (_, at, bytes) => {
    const payload = whole.slice();
    payload.set(bytes, at);
    const attempt = (): unknown => read(payload);
    expect(attempt).toThrow(CorruptionError);
    try {
      attempt();
    } catch (error) {
      expect(error).toMatchObject({ file: "a.wal" });
      const { offset } = error as CorruptionError;
      expect(offset).toBeGreaterThanOrEqual(1000);
      expect(offset).toBeLessThanOrEqual(1000 + payload.length);
    }
  });

  test("with a key or value above its limit is damage", () => {
    const key = new Uint8Array(65_537);
    const tooLong = payloadOf([{ kind: EntryKind.tombstone, key, value: NO_BYTES, expiry: NEVER }]);
    expect(() => read(tooLong)).toThrow(/a length up to 65536/);
    const most = { kind: EntryKind.tombstone, key: key.slice(1), value: NO_BYTES, expiry: NEVER };
    expect(read(payloadOf([most]))).toMatchObject([{ key: most.key }]);
    const start = most.key;
    const longEnd = payloadOf([{ start, end: key }]);
    expect(() => read(longEnd)).toThrow(/end of a range/);
    expect(read(payloadOf([{ start, end: start }]))).toMatchObject([{ start, end: start }]);
  });

  test.each([0, NEVER, NEVER + 1])("with the expiry %d is damage", (expiry) => {
    const key = Uint8Array.of(1);
    const payload = payloadOf([{ kind: EntryKind.put, key, value: NO_BYTES, expiry: 1 }]);
    writeU53(payload, HEAD + 3, expiry);
    expect(() => read(payload)).toThrow(/an expiry within the record/);
  });

  test("of random bytes is read or refused, and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(20), (bytes, at) => {
        const payload = whole.slice();
        payload.set(bytes.subarray(0, payload.length - at), at);
        try {
          read(payload);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptionError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a text", () => {
  const units = [
    0, 1, 32, 33, 42, 43, 63, 64, 127, 128, 4095, 4096, 4097, 5461, 5462, 16_383, 16_384,
  ];
  test.each(units)("of %i units is stored as its UTF-8 is", (length) => {
    for (const unit of ["x", "é", "€", "😀"]) {
      const key = Uint8Array.of(1);
      const text = unit.repeat(Math.ceil(length / unit.length));
      const asText = new RecordBuilder();
      const asBytes = new RecordBuilder();
      for (const expiry of [NEVER, 7]) {
        asText.put(key, 1, text, expiry);
        asBytes.put(key, 1, Buffer.from(text, "utf8"), expiry);
      }
      expect(asText.valueBytes).toBe(asBytes.valueBytes);
      expect(Buffer.from(asText.writer.bytes).equals(asBytes.writer.bytes)).toBe(true);
    }
  });
});
