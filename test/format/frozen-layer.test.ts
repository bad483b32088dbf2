import { expect, test } from "vitest";
import { BRANCH, END, ESCAPE, FINAL, GOTO, HEADER_BYTES } from "../../src/fst/format.ts";
import { FrozenLayer, FrozenLayerBuilder } from "../../src/fst/index.ts";
import { type Field, golden } from "./golden.ts";

const HEADER: Field[] = [
  { name: "magic", length: 8 },
  { name: "version", length: 4 },
  { name: "flags", length: 4 },
  { name: "keyCount", length: 4 },
  { name: "longestKey", length: 4 },
  { name: "symbolBytes", length: 4 },
  { name: "stateBytes", length: 4 },
  { name: "valueBytes", length: 8 },
  { name: "bodySum", length: 4 },
  { name: "headerSum", length: 4 },
];

function build(keys: readonly string[], values?: readonly number[]): Uint8Array {
  const builder = new FrozenLayerBuilder({ values: values !== undefined });
  keys.forEach((key, i) => {
    builder.insert(new Uint8Array(Buffer.from(key)), values?.[i]);
  });
  return builder.finish();
}

/** A field for each element of states without symbols. */
function elements(states: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let pos = 0; pos < states.length; ) {
    const { name, length } = element(states, pos);
    fields.push({ name: `${pos}: ${name}`, length });
    pos += length;
  }
  return fields;
}

function element(states: Uint8Array, pos: number): Field {
  const byte = states[pos];
  if (byte < GOTO) return { name: `'${String.fromCharCode(byte)}'`, length: 1 };
  if (byte < ESCAPE) return { name: "GOTO", length: 2 + byte - GOTO };
  if (byte === ESCAPE) return { name: `ESCAPE ${states[pos + 1]}`, length: 2 };
  if (byte === FINAL) return { name: "FINAL", length: 1 };
  if (byte === END) return { name: "END", length: 1 };
  expect(byte).toBeGreaterThanOrEqual(BRANCH);
  const field = (byte >> 4) & 3;
  const count = field === 3 ? states[pos + 1] + 2 : field + 2;
  const widths = ((byte >> 2) & 3) + 1 + [0, 1, 2, 4][byte & 3];
  return {
    name: `BRANCH of ${count}`,
    length: (field === 3 ? 2 : 1) + count + (count - 1) * widths,
  };
}

test("a layer of format 1 is these bytes, and they are read back", () => {
  const keys = ["cat", "cats", "dot", "dots", "pot", "é"];
  const values = [1000, 1001, 1003, 1003, 1000, 1255];
  const bytes = build(keys, values);
  const view = new DataView(bytes.buffer);
  const statesEnd = HEADER_BYTES + view.getUint32(28, true);
  const stored = golden("frozen-layer-1", `a layer of ${keys.join(", ")}, with values`, bytes, [
    ...HEADER,
    ...elements(bytes.subarray(HEADER_BYTES, statesEnd)),
    { name: "values: smallest", length: 8 },
    { name: "start", length: 4 },
    { name: "width", length: 1 },
    { name: "block", length: 6 },
    { name: "padding", length: 8 },
  ]);
  const layer = new FrozenLayer(stored);
  layer.verify();
  expect(Array.from(layer, ([key, value]) => [Buffer.from(key).toString(), value])).toEqual(
    keys.map((key, i) => [key, values[i]]),
  );
});

test("a packed set of format 1 is these bytes, and they are read back", () => {
  const keys = Array.from({ length: 600 }, (_, i) => {
    const number = (i * 2_654_435_761) % 4_294_967_296;
    return `https://example.com/${number.toString(36)}/${number.toString(36).slice(2)}.tar`;
  }).sort((a, b) => (a < b ? -1 : 1));
  const bytes = build(keys);
  const view = new DataView(bytes.buffer);
  expect(view.getUint32(24, true)).toBeGreaterThan(0);
  const stored = golden("frozen-layer-packed-1", "a packed set of 600 URLs", bytes, [
    ...HEADER,
    { name: "symbols: count", length: 1 },
    { name: "lengths", length: bytes[HEADER_BYTES] },
    { name: "bytes", length: view.getUint32(24, true) - 1 - bytes[HEADER_BYTES] },
    { name: "states", length: view.getUint32(28, true) },
  ]);
  const layer = new FrozenLayer(stored);
  layer.verify();
  expect(Array.from(layer.keys(), (key) => Buffer.from(key).toString())).toEqual(keys);
});
