/**
 * Commands that a signal ends in good order, so that they leave nothing half done behind.
 *
 * The first signal is noted, and the command ends where it next asks; a second one ends the process
 * at once. A signal is heard between two turns of the event loop: what computes for long must wait
 * for one now and then.
 */

/** What a shell reports of a process that a signal ended: 128 and the signal's number. */
export const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
export type Signal = keyof typeof SIGNAL_EXIT_CODES;

/** Ends a command that a signal ended. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: Signal) {
    super("interrupted");
    this.exitCode = SIGNAL_EXIT_CODES[signal];
  }
}

/** Calls `handle` with the first signal of each kind, until what it returns is called. */
export function hearSignals(handle: (signal: Signal) => void): () => void {
  process.once("SIGINT", handle);
  process.once("SIGTERM", handle);
  return () => {
    process.off("SIGINT", handle);
    process.off("SIGTERM", handle);
  };
}

/** Does `work`. What it is given throws Interrupted once a signal has arrived. */
export async function interruptible<T>(work: (check: () => void) => Promise<T>): Promise<T> {
  let received: Signal | undefined;
  const stopHearing = hearSignals((signal) => {
    received = signal;
  });
  try {
    return await work(() => {
      if (received !== undefined) throw new Interrupted(received);
    });
  } finally {
    stopHearing();
  }
}
