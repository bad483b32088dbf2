/**
 * MergeCoders: what was learnt for a merge of runs, for all of its steps, and for the merges after it.
 *
 * Learning takes about as long as merging 16 MiB, and a uniform sample of all that is merged suits
 * every part of it. So the first step that writes decides for the whole merge, and those after it use
 * the same coders: those of the merge before while they suit this one, else new ones. A thread that
 * was started in between learns again, from its first step.
 *
 * Segments that were coded by what is used now share its tables, so that a merge sees that it can copy
 * their codes.
 */

import { withPauses } from "../pieces.ts";
import { CoderMemory, type Samples } from "../segment/coder-memory.ts";
import type { CodingOptions, SegmentCoders } from "../segment/coders.ts";
import type { SymbolTables } from "../symbols/tables.ts";

export class MergeCoders {
  private readonly memory: CoderMemory;
  private readonly tables: SymbolTables;
  private mergeId: number;
  private coders: SegmentCoders | undefined;

  /** `tables` are those of the segments that are merged. */
  constructor(tables: SymbolTables) {
    this.tables = tables;
    this.memory = new CoderMemory();
    this.mergeId = -1;
    this.coders = undefined;
  }

  /** The coders of a merge. If they are not known, `sample` is called, and learning is paused often. */
  async codersFor(
    mergeId: number,
    sample: () => Promise<Samples>,
    options: CodingOptions,
    pause: () => Promise<void>,
  ): Promise<SegmentCoders> {
    if (this.coders !== undefined && this.mergeId === mergeId) return this.coders;
    const coders = await withPauses(this.memory.codersFor(await sample(), options), pause);
    if (coders !== this.coders) {
      this.tables.add(coders.keySymbols);
      if (coders.valueSymbols !== undefined) this.tables.add(coders.valueSymbols);
    }
    this.mergeId = mergeId;
    this.coders = coders;
    return coders;
  }
}
