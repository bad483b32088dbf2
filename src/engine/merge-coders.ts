/**
 * MergeCoders: what was learnt for a merge of runs, for all of its steps.
 *
 * Learning takes about as long as merging 16 MiB, and a uniform sample of all that is merged suits
 * every part of it. So the first step that writes learns from the whole merge, and those after it
 * use the same coders. A thread that was started in between learns again, from its first step.
 */
import type { SegmentCoders } from "../segment/coders.ts";

export class MergeCoders {
  private mergeId: number;
  private coders: SegmentCoders | undefined;

  constructor() {
    this.mergeId = -1;
    this.coders = undefined;
  }

  /** The coders of a merge; `learn` is called if they are not known. */
  async codersFor(mergeId: number, learn: () => Promise<SegmentCoders>): Promise<SegmentCoders> {
    if (this.coders !== undefined && this.mergeId === mergeId) return this.coders;
    const coders = await learn();
    this.mergeId = mergeId;
    this.coders = coders;
    return coders;
  }
}
