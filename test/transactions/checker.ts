/**
 * Tells from what transactions read and wrote whether they are serializable.
 *
 * Every key holds a list of the transactions that wrote it: to write a key is to read its list and
 * to append the own number (the lists of Elle: Kingsbury and Alvaro, VLDB 2020). So the order of a
 * key's versions can be read off its longest list, and the history gives the direct serialization
 * graph of Adya, "Weak Consistency" (MIT 1999), section 3.1:
 *
 *   ww   who wrote a version -> who wrote the next
 *   wr   who wrote a version -> who read it
 *   rw   who read a version  -> who wrote the next
 *
 * A history is serializable (PL-3) if what was read is of committed transactions only and this graph
 * has no cycle. A range that was read is a read of every key that could be in it, those that are not
 * there as the empty list; so phantoms are rw edges.
 */

/** The numbers of the transactions that wrote a key, oldest first; empty for a key not there. */
export type Versions = readonly number[];

/** What a transaction that committed saw and did. */
export interface Committed {
  readonly id: number;
  /** Lists as they were read from the database, by key. */
  readonly reads: ReadonlyMap<string, Versions>;
  /** Keys that were written: the list read, and the own number. */
  readonly writes: ReadonlySet<string>;
}

export type Violation =
  | { readonly kind: "aborted read" | "lost update" | "forked"; readonly key: string }
  | { readonly kind: "cycle"; readonly ids: readonly number[] };

/** What is wrong with a history that ended with the lists of `end`; undefined if nothing. */
export function findViolation(
  history: readonly Committed[],
  end: ReadonlyMap<string, Versions>,
): Violation | undefined {
  const committed = new Map(history.map((transaction) => [transaction.id, transaction]));
  for (const [key, versions] of end) {
    if (versions.some((id) => !committed.get(id)?.writes.has(key))) {
      return { kind: "aborted read", key };
    }
  }
  for (const { id, writes } of history) {
    for (const key of writes) {
      // Whoever wrote what was not a continuation of the version before made others disappear.
      if (!end.get(key)?.includes(id)) return { kind: "lost update", key };
    }
  }
  const edges = new Map<number, Set<number>>(history.map(({ id }) => [id, new Set()]));
  const addEdge = (from: number | undefined, to: number | undefined): void => {
    if (from !== undefined && to !== undefined && from !== to) edges.get(from)?.add(to);
  };
  for (const versions of end.values()) {
    for (let i = 1; i < versions.length; i++) addEdge(versions[i - 1], versions[i]);
  }
  for (const { id, reads } of history) {
    for (const [key, seen] of reads) {
      const versions = end.get(key) ?? [];
      if (seen.some((writer, i) => versions[i] !== writer)) return { kind: "forked", key };
      addEdge(seen.at(-1), id);
      addEdge(id, versions.at(seen.length));
    }
  }
  return findCycle(edges);
}

function findCycle(edges: ReadonlyMap<number, ReadonlySet<number>>): Violation | undefined {
  const done = new Set<number>();
  const path: number[] = [];
  const visit = (id: number): readonly number[] | undefined => {
    if (done.has(id)) return undefined;
    const at = path.indexOf(id);
    if (at >= 0) return path.slice(at);
    path.push(id);
    for (const next of edges.get(id) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(id);
    return undefined;
  };
  for (const id of edges.keys()) {
    const ids = visit(id);
    if (ids !== undefined) return { kind: "cycle", ids };
  }
  return undefined;
}
