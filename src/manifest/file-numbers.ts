/**
 * FileNumbers: hands out the numbers of files, each once, to every thread that writes any.
 *
 * The next number is a 64-bit integer in shared memory and is taken atomically. What makes a number
 * never come twice across runs of the program is recovery: it begins above the manifest's record
 * and above every file in the directory.
 */
export class FileNumbers {
  /** Give it to another thread, and make a FileNumbers of it there. */
  readonly shared: SharedArrayBuffer;
  private readonly next: BigInt64Array;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.next = new BigInt64Array(shared);
  }

  static from(first: number): FileNumbers {
    const numbers = new FileNumbers(new SharedArrayBuffer(8));
    Atomics.store(numbers.next, 0, BigInt(first));
    return numbers;
  }

  take(): number {
    return Number(Atomics.add(this.next, 0, 1n));
  }

  /** The number that `take` would return: above all that were taken. */
  get upcoming(): number {
    return Number(Atomics.load(this.next, 0));
  }
}
