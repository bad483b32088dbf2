/** get, getMany, getStream and has agree with the model, and so with one another. */
import { buffer } from "node:stream/consumers";
import type { AsyncCommand } from "fast-check";
import { unpack } from "msgpackr";
import { expect } from "vitest";
import type { Model, System } from "./system.ts";

/** The value of the bytes that an encoding made of it. */
const DECODERS: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  utf8: (bytes) => bytes.toString(),
  json: (bytes) => JSON.parse(bytes.toString()),
  msgpack: (bytes) => unpack(bytes),
};

export class LookUp implements AsyncCommand<Model, System> {
  private readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    this.keys = keys;
  }

  check(): boolean {
    return true;
  }

  async run({ content }: Model, { database, options }: System): Promise<void> {
    const expected = this.keys.map((key) => content.get(key));
    expect(this.keys.map((key) => database.get(key))).toEqual(expected);
    expect(database.getMany(this.keys)).toEqual(expected);
    expect(this.keys.map((key) => database.has(key))).toEqual(
      expected.map((value) => value !== undefined),
    );
    const decode = DECODERS[String(options.valueEncoding)];
    for (const [i, key] of this.keys.entries()) {
      const stream = database.getStream(key);
      expect(stream && decode(await buffer(stream))).toBe(expected[i]);
    }
  }

  toString(): string {
    return `lookUp(${JSON.stringify(this.keys)})`;
  }
}
