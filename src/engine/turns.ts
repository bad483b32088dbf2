/**
 * Turns: who does something one after the other, in the order in which they ask.
 */
export class Turns {
  /** Resolves when the last turn of those that were asked for ends. */
  private last: Promise<void> = Promise.resolve();

  /** Resolves when it is the caller's turn, to what ends it. */
  async take(): Promise<() => void> {
    const before = this.last;
    let end = (): void => {};
    this.last = new Promise((resolve) => {
      end = resolve;
    });
    await before;
    return end;
  }
}
