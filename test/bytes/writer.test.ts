import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readU16, readU32, readU53 } from "../../src/bytes/fixed.ts";
import { VarintReader } from "../../src/bytes/varint.ts";
import { ByteWriter } from "../../src/bytes/writer.ts";

type Step =
  | { readonly kind: "u8" | "u16" | "u32" | "u53" | "varint"; readonly value: number }
  | { readonly kind: "append"; readonly bytes: Uint8Array; readonly from: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("u8"), value: fc.nat(0xff) }),
  fc.record({ kind: fc.constant("u16"), value: fc.nat(0xffff) }),
  fc.record({ kind: fc.constant("u32"), value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
  fc.record({ kind: fc.constantFrom("u53", "varint"), value: fc.maxSafeNat() }),
  fc.record({
    kind: fc.constant("append"),
    bytes: fc.uint8Array({ maxLength: 300 }),
    from: fc.nat(300),
  }),
);

function write(writer: ByteWriter, step: Step): void {
  if (step.kind === "append") {
    writer.append(step.bytes, Math.min(step.from, step.bytes.length), step.bytes.length);
  } else {
    writer[step.kind](step.value);
  }
}

describe("ByteWriter", () => {
  test("holds what was written, however often it grew", () => {
    fc.assert(
      fc.property(fc.array(anyStep), fc.nat(16), (steps, initialBytes) => {
        const writer = new ByteWriter(initialBytes);
        for (const step of steps) write(writer, step);
        const { bytes } = writer;
        expect(bytes.length).toBe(writer.length);
        const reader = new VarintReader();
        for (const step of steps) {
          const { pos } = reader;
          if (step.kind === "append") {
            const appended = step.bytes.subarray(Math.min(step.from, step.bytes.length));
            expect(bytes.slice(pos, pos + appended.length)).toEqual(appended.slice());
            reader.pos += appended.length;
          } else if (step.kind === "varint") {
            expect(reader.read(bytes, bytes.length)).toBe(step.value);
          } else {
            const read = { u8: (at: Uint8Array, i: number) => at[i], u16: readU16, u32: readU32 };
            expect((step.kind === "u53" ? readU53 : read[step.kind])(bytes, pos)).toBe(step.value);
            reader.pos += { u8: 1, u16: 2, u32: 4, u53: 8 }[step.kind];
          }
        }
        expect(reader.pos).toBe(bytes.length);
      }),
    );
  });

  test("reserve makes room, so that the caller may write in place", () => {
    const writer = new ByteWriter(1);
    writer.u8(7);
    const pos = writer.reserve(1000);
    expect(pos).toBe(1);
    expect(writer.buffer.length).toBeGreaterThanOrEqual(1001);
    expect(writer.length).toBe(1);
    expect(writer.buffer[0]).toBe(7);
  });

  test("take is a copy, bytes is a view, and reset keeps the buffer", () => {
    const writer = new ByteWriter(8);
    writer.u32(1);
    const view = writer.bytes;
    const copy = writer.take();
    const { buffer } = writer;
    writer.reset();
    expect(writer.bytes).toHaveLength(0);
    writer.u32(2);
    expect(writer.buffer).toBe(buffer);
    expect(readU32(view, 0)).toBe(2);
    expect(readU32(copy, 0)).toBe(1);
  });
});
