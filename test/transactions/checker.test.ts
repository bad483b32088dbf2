/** The checker finds each of the textbook anomalies in a history that has it, and nothing else. */
import { describe, expect, test } from "vitest";
import { type Committed, findViolation, type Versions } from "./checker.ts";

type Reads = Readonly<Record<string, Versions>>;

const transaction = (id: number, reads: Reads, writes: string): Committed => ({
  id,
  reads: new Map(Object.entries(reads)),
  writes: new Set(writes),
});

const end = (lists: Reads): Map<string, Versions> => new Map(Object.entries(lists));

describe("the checker", () => {
  test("accepts what ran one after the other", () => {
    const history = [
      transaction(1, { x: [], y: [] }, "xy"),
      transaction(2, { x: [1] }, "x"),
      transaction(3, { x: [1, 2], y: [1] }, ""),
    ];
    expect(findViolation(history, end({ x: [1, 2], y: [1] }))).toBeUndefined();
  });

  test("accepts a reader that saw the moment before a writer", () => {
    const history = [transaction(2, { x: [], y: [] }, ""), transaction(1, { x: [], y: [] }, "xy")];
    expect(findViolation(history, end({ x: [1], y: [1] }))).toBeUndefined();
  });

  test("finds a lost update", () => {
    const history = [transaction(1, { x: [] }, "x"), transaction(2, { x: [] }, "x")];
    expect(findViolation(history, end({ x: [2] }))).toEqual({ kind: "lost update", key: "x" });
  });

  test("finds write skew", () => {
    const history = [transaction(1, { x: [], y: [] }, "x"), transaction(2, { x: [], y: [] }, "y")];
    expect(findViolation(history, end({ x: [1], y: [2] }))?.kind).toBe("cycle");
  });

  test("finds a reader that saw half of a transaction", () => {
    const history = [transaction(1, { x: [], y: [] }, "xy"), transaction(2, { x: [1], y: [] }, "")];
    expect(findViolation(history, end({ x: [1], y: [1] }))).toEqual({
      kind: "cycle",
      ids: [1, 2],
    });
  });

  test("finds a phantom: two that each read an empty range and put a key into the other's", () => {
    const history = [transaction(1, { a: [], b: [] }, "a"), transaction(2, { a: [], b: [] }, "b")];
    expect(findViolation(history, end({ a: [1], b: [2] }))?.kind).toBe("cycle");
  });

  test("finds a cycle over three transactions", () => {
    const history = [
      transaction(1, { x: [], y: [] }, "y"),
      transaction(2, { y: [], z: [] }, "z"),
      transaction(3, { z: [], x: [] }, "x"),
    ];
    const violation = findViolation(history, end({ x: [3], y: [1], z: [2] }));
    expect(violation?.kind).toBe("cycle");
  });

  test("finds what an aborted transaction left, and what was read of it", () => {
    expect(findViolation([], end({ x: [7] }))).toEqual({ kind: "aborted read", key: "x" });
    const history = [transaction(1, { x: [7] }, "")];
    expect(findViolation(history, end({ x: [] }))).toEqual({ kind: "forked", key: "x" });
  });
});
