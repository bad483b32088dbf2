/**
 * FrozenLayerBuilder: turns sorted keys into the bytes of a frozen layer, in one pass.
 *
 * The states along the last key are unfinished: later keys may still branch off from them. When
 * the next key comes, the states below the part it shares with the last one can change no more. They
 * are finished, the deepest first: a state that equals one written before becomes that one
 * (registry.ts), any other is written (state-writer.ts). So the builder holds one key's states, the
 * registry, and the bytes written; its time is linear in the bytes of the keys.
 *
 * Of the unfinished states those beyond `tailDepth`, what the last key shares with the one before it,
 * have no other transition than the last key's. They are most, and are finished by a loop of their
 * own: from the key's end on, each is looked for until one is new, which all above it then are, too.
 *
 * Invariant: `unfinished` holds the finished transitions of the unfinished states down to
 * `tailDepth`, those of the state at depth d from `starts[d]` on; deeper states lie above, so it is
 * a stack.
 *
 * Source: J. Daciuk et al. (2000), algorithm 1 (sorted data); see format.ts.
 */
import { compareBytes } from "../bytes/compare.ts";
import { MAX_KEY_BYTES } from "../entry.ts";
import { InvalidArgumentError } from "../errors.ts";
import { checkNames } from "../names.ts";
import { END, FINAL, HEADER_BYTES, MAX_KEY_COUNT, writeHeader } from "./format.ts";
import { pack } from "./packer.ts";
import { Registry } from "./registry.ts";
import { StateMarks } from "./state-marks.ts";
import { END_ADDRESS, StateWriter, Transitions } from "./state-writer.ts";
import { ValuesWriter } from "./values.ts";

export interface FrozenLayerBuilderOptions {
  /**
   * Whether keys have values of your own (default). With `false` the layer is a set, and the value
   * of a key is its ordinal: the number of keys before it.
   */
  readonly values?: boolean;
  /**
   * How many states the builder remembers in order to share them, 8 bytes each; rounded up to a
   * power of two. Default 32,768. More make a smaller layer and a slower build: with 2,097,152, a
   * layer of URLs or names is a twentieth smaller and takes more than twice as long to build.
   */
  readonly registryCells?: number;
  /**
   * Whether `finish` goes over the states once more and replaces frequent stretches of bytes by
   * symbols (default). Without, a build takes two fifths less time, and the layer is a quarter larger
   * for URLs, a sixth for names and an eighth for paths.
   */
  readonly pack?: boolean;
}

const BUILDER_OPTIONS: readonly string[] = ["values", "registryCells", "pack"];

const DEFAULT_REGISTRY_CELLS = 32_768;
const MAX_REGISTRY_CELLS: number = 2 ** 26;

/**
 * States that were written in a row, each leading to the one before, of which only so many enter
 * the registry: the beginning of a long tail hardly recurs, would push out what does, and each entry
 * is a cache miss. Chosen by `bench frozen-layer`: 16 in the default registry make URLs 0.1 % larger
 * and paths 2.5 % smaller, in a tenth more time. A larger registry is there to find more.
 */
const NEW_STATES_IN_A_ROW = 8;
const NEW_STATES_IN_A_ROW_LARGE = 16;

export class FrozenLayerBuilder {
  private readonly registry: Registry;
  private readonly states: StateWriter;
  private readonly values: ValuesWriter | undefined;
  /** Where the states are to be packed. */
  private readonly marks: StateMarks | undefined;

  /** The key inserted last, and its length. */
  private readonly lastKey: Uint8Array;
  private lastKeyLength: number;
  private longestKeyBytes: number;
  private keyCount: number;
  private isFinished: boolean;

  /** The unfinished states by depth, 0 to tailDepth: see above. */
  private readonly unfinished: Transitions;
  private readonly starts: Int32Array;
  private readonly isFinal: Uint8Array;
  private tailDepth: number;

  /** The result of `finishState`: the state's address, and how many keys lie below it. */
  private target: number;
  private targetKeyCount: number;
  /** How many states were written in a row, up to the one at `target`; 0 if that is an old one. */
  private newStatesInARow: number;
  /** How many of them enter the registry. */
  private readonly maxNewStatesInARow: number;

  /** Throws InvalidArgumentError for an option that is unknown, or out of range. */
  constructor(options: FrozenLayerBuilderOptions = {}) {
    checkNames(options, "option", BUILDER_OPTIONS);
    const cells = options.registryCells ?? DEFAULT_REGISTRY_CELLS;
    if (!Number.isInteger(cells) || cells < 1 || cells > MAX_REGISTRY_CELLS) {
      throw new InvalidArgumentError(
        `registryCells is an integer from 1 to ${MAX_REGISTRY_CELLS}, not ${cells}`,
      );
    }
    this.registry = new Registry(cells);
    this.marks = (options.pack ?? true) ? new StateMarks() : undefined;
    this.states = new StateWriter(undefined, this.marks);
    this.values = (options.values ?? true) ? new ValuesWriter() : undefined;
    this.lastKey = new Uint8Array(MAX_KEY_BYTES);
    this.lastKeyLength = 0;
    this.longestKeyBytes = 0;
    this.keyCount = 0;
    this.isFinished = false;
    this.unfinished = new Transitions();
    this.starts = new Int32Array(MAX_KEY_BYTES + 1);
    this.isFinal = new Uint8Array(MAX_KEY_BYTES + 1);
    this.tailDepth = 0;
    this.target = END_ADDRESS;
    this.targetKeyCount = 0;
    this.newStatesInARow = 0;
    this.maxNewStatesInARow =
      cells > DEFAULT_REGISTRY_CELLS ? NEW_STATES_IN_A_ROW_LARGE : NEW_STATES_IN_A_ROW;
  }

  /** Keys inserted so far. */
  get size(): number {
    return this.keyCount;
  }

  /**
   * Adds a key, which must sort after the one before, byte by byte. It is copied. `value` is an
   * integer from 0 to 2^53 - 1; in a set (`values: false`) it is left out, or is the key's ordinal.
   *
   * Throws InvalidArgumentError, and changes nothing, for a key that is not a Uint8Array of at most
   * 65,536 bytes, a key that is not greater than the one before (the message has both), a value out
   * of range, and more than 2^31 - 1 keys.
   */
  insert(key: Uint8Array, value?: number): void {
    const shared = this.checkKey(key);
    this.checkValue(value);
    if (this.keyCount > 0) this.finishBelow(shared);

    const length = key.length;
    const { lastKey } = this;
    for (let at = shared; at < length; at++) lastKey[at] = key[at];
    this.tailDepth = shared;
    // Only the empty key has no tail.
    if (length === 0) this.isFinal[0] = 1;
    this.lastKeyLength = length;
    if (length > this.longestKeyBytes) this.longestKeyBytes = length;
    this.keyCount++;
    if (this.values !== undefined && value !== undefined) this.values.append(value);
  }

  /**
   * The layer's bytes, for `new FrozenLayer(bytes)` or a file. The builder cannot be used again.
   * Takes time linear in the bytes, and memory for about four times as many.
   */
  finish(): Uint8Array {
    this.checkUnfinished();
    this.isFinished = true;
    if (this.keyCount > 0) {
      this.finishBelow(0);
      this.finishState(0);
      // Only the set of the empty key ends at its root, and END has not been written yet.
      if (this.target === END_ADDRESS) this.states.element(END);
    }
    const unpacked = this.states.bytes;
    const packed =
      this.marks === undefined
        ? { symbols: new Uint8Array(0), states: unpacked }
        : pack(unpacked, this.marks);
    const values = this.values === undefined ? new Uint8Array(0) : this.values.finish();

    const statesStart = HEADER_BYTES + packed.symbols.length;
    const valuesStart = statesStart + packed.states.length;
    const bytes = new Uint8Array(valuesStart + values.length);
    bytes.set(packed.symbols, HEADER_BYTES);
    bytes.set(packed.states, statesStart);
    bytes.set(values, valuesStart);
    writeHeader(bytes, {
      hasValues: this.values !== undefined,
      keyCount: this.keyCount,
      longestKeyBytes: this.longestKeyBytes,
      symbolBytes: packed.symbols.length,
      stateBytes: packed.states.length,
      valueBytes: values.length,
    });
    return bytes;
  }

  /** Finishes the states deeper than `depth`, and adds the transition that leads to them. */
  private finishBelow(depth: number): void {
    const { unfinished, lastKey, lastKeyLength, tailDepth, starts, isFinal } = this;
    // States of the tail that the next key goes on from.
    for (let at = tailDepth + 1; at <= depth; at++) {
      starts[at] = unfinished.length;
      isFinal[at] = at === lastKeyLength ? 1 : 0;
    }
    const tailStart = Math.max(depth, tailDepth);
    if (tailStart < lastKeyLength) {
      this.finishTail(tailStart);
      unfinished.push(lastKey[tailStart], this.target, 1);
    }
    for (let at = tailDepth; at > depth; at--) {
      this.finishState(at);
      if (this.newStatesInARow > 0) {
        // The states above that lead only to the one just written are new, too, and take a byte each.
        // They are many, and finished together in a tenth less time for the whole build.
        const from = at;
        const length = unfinished.length;
        while (at - 1 > depth && starts[at - 1] === length && isFinal[at - 1] === 0) at--;
        if (at < from) this.finishChain(at, from);
      }
      unfinished.push(lastKey[at - 1], this.target, this.targetKeyCount);
    }
  }

  /** Finishes the states deeper than `depth`, none of which has another transition. */
  private finishTail(depth: number): void {
    const { registry, states, lastKey } = this;
    let target = END_ADDRESS;
    let at = this.lastKeyLength - 1;
    for (; at > depth; at--) {
      const label = lastKey[at];
      const address = registry.findOne(registry.bucketOfOne(label, target), label, target, states);
      if (address === 0) break;
      target = address;
    }
    this.target = target;
    this.newStatesInARow = 0;
    if (at > depth) {
      states.follow(target);
      this.finishChain(depth + 1, at + 1);
    }
  }

  /**
   * Writes the states of depths from `depth` up to `end`, each leading to the next by one byte, and
   * the last to `target`, which must be what comes next.
   */
  private finishChain(depth: number, end: number): void {
    const { registry, states, lastKey, maxNewStatesInARow } = this;
    let { target, newStatesInARow } = this;
    let at = end - 1;
    for (; at >= depth && newStatesInARow < maxNewStatesInARow; at--) {
      const label = lastKey[at];
      states.byte(label);
      registry.add(registry.bucketOfOne(label, target), states.length, target);
      newStatesInARow++;
      target = states.length;
    }
    if (at >= depth) states.chain(lastKey, depth, at + 1);
    this.target = states.length;
    this.newStatesInARow = newStatesInARow;
  }

  /** Turns the deepest unfinished state into an old one or a new one, and sets `target` to it. */
  private finishState(depth: number): void {
    const { unfinished, registry } = this;
    const start = this.starts[depth];
    const end = unfinished.length;
    if (start === end) {
      this.target = END_ADDRESS;
      this.targetKeyCount = 1;
      this.newStatesInARow = 0;
      return;
    }
    const isFinal = this.isFinal[depth] === 1;
    let keyCount = isFinal ? 1 : 0;
    for (let i = start; i < end; i++) keyCount += unfinished.keyCounts[i];
    // A state that leads to a new one cannot equal an old one, so it need not be looked for.
    let address = 0;
    if (this.newStatesInARow < this.maxNewStatesInARow) {
      const bucket = registry.bucketOf(isFinal, unfinished, start);
      const lastTarget = unfinished.targets[end - 1];
      if (this.newStatesInARow === 0) {
        address = registry.find(bucket, isFinal, unfinished, start, this.states);
      }
      if (address === 0) {
        address = this.writeState(isFinal, start);
        registry.add(bucket, address, lastTarget);
        this.newStatesInARow++;
      }
    } else {
      address = this.writeState(isFinal, start);
    }
    unfinished.length = start;
    this.target = address;
    this.targetKeyCount = keyCount;
  }

  /** Writes the state with the transitions from `start` to the top, and returns its address. */
  private writeState(isFinal: boolean, start: number): number {
    const { unfinished, states } = this;
    const last = unfinished.length - 1;
    states.follow(unfinished.targets[last]);
    if (start === last) states.byte(unfinished.labels[last]);
    else states.branch(unfinished, start);
    if (isFinal) states.element(FINAL);
    return states.length;
  }

  /** Checks `key` and returns how many bytes it shares with the one before. */
  private checkKey(key: Uint8Array): number {
    this.checkUnfinished();
    if (!(key instanceof Uint8Array)) {
      throw new InvalidArgumentError(`a key is a Uint8Array, not ${typeof key}`);
    }
    if (key.length > MAX_KEY_BYTES) {
      throw new InvalidArgumentError(
        `a key has at most ${MAX_KEY_BYTES} bytes; this one has ${key.length}`,
      );
    }
    if (this.keyCount === 0) return 0;
    if (this.keyCount === MAX_KEY_COUNT) {
      throw new InvalidArgumentError(`a frozen layer has at most ${MAX_KEY_COUNT} keys`);
    }
    const { lastKey, lastKeyLength } = this;
    const length = Math.min(key.length, lastKeyLength);
    let shared = 0;
    while (shared < length && key[shared] === lastKey[shared]) shared++;
    const isGreater = shared < length ? key[shared] > lastKey[shared] : key.length > lastKeyLength;
    if (!isGreater) throw this.orderError(key);
    return shared;
  }

  private checkValue(value: number | undefined): void {
    if (this.values === undefined) {
      if (value === undefined || value === this.keyCount) return;
      throw new InvalidArgumentError(
        `in a set (values: false) the value of a key is its ordinal, ${this.keyCount}, not ${value}: leave it out`,
      );
    }
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw new InvalidArgumentError(`a value is an integer from 0 to 2^53 - 1, not ${value}`);
    }
  }

  private checkUnfinished(): void {
    if (this.isFinished) throw new InvalidArgumentError("finish was called on this builder");
  }

  private orderError(key: Uint8Array): InvalidArgumentError {
    const last = this.lastKey.subarray(0, this.lastKeyLength);
    return new InvalidArgumentError(
      compareBytes(key, last) === 0
        ? `key ${describeKey(key)} was inserted twice: keys are unique`
        : `key ${describeKey(key)} was inserted after ${describeKey(last)}: keys come in ascending order`,
    );
  }
}

/** A key for an error message: as text where it is printable ASCII, else in hexadecimal. */
function describeKey(key: Uint8Array): string {
  const shown = Buffer.from(key.subarray(0, 64));
  const isText = shown.every((byte) => byte >= 0x20 && byte < 0x7f);
  const text = isText ? JSON.stringify(shown.toString("latin1")) : `0x${shown.toString("hex")}`;
  return key.length > shown.length ? `${text}... (${key.length} bytes)` : text;
}
