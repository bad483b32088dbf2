/**
 * LevelSnapshot: a moment of the database as abstract-level's users hold it.
 *
 * abstract-level counts who reads from it, and closes it when it was told to and the last is done.
 */
import { AbstractSnapshot } from "abstract-level";
import type { Moment } from "./views.ts";

/** The published types leave out the constructor; `owner` closes the snapshot when it is closed. */
const Base = AbstractSnapshot as unknown as new (options: { owner: unknown }) => AbstractSnapshot;

export class LevelSnapshot extends Base {
  readonly moment: Moment;

  constructor(moment: Moment, options: { owner: unknown }) {
    super(options);
    this.moment = moment;
  }

  _close(): Promise<void> {
    this.moment.release();
    return Promise.resolve();
  }
}
