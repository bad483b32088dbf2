/**
 * SymbolTables: the symbol tables that a database uses, each of them once.
 *
 * Segments are often coded by the same table, since flushes all have the same one and what was
 * learnt for one merge serves those after it. So a table that is read is compared with those in use,
 * by all of its stored bytes, and who has the same bytes gets the same table: that saves a third of a
 * megabyte and the time to unpack it. And who writes a segment sees at once that the codes of another
 * are its own.
 *
 * A table is here as long as somebody uses it, with a copy of its stored bytes.
 */
import { compareRanges } from "../bytes/compare.ts";
import { readU32 } from "../bytes/fixed.ts";
import { ByteWriter } from "../bytes/writer.ts";
import { SymbolTable, storedSymbolTableBytes } from "./table.ts";

interface Known {
  readonly stored: Uint8Array;
  readonly table: WeakRef<SymbolTable>;
}

/** Bytes of the checksum that a stored table begins with. */
const SUM_BYTES = 4;

export class SymbolTables {
  /** By checksum. Of two with the same one the later is known. */
  private readonly known: Map<number, Known>;

  constructor() {
    this.known = new Map();
  }

  /** As `SymbolTable.deserialize`, unless a table with the same stored bytes is in use: then that one. */
  read(bytes: Uint8Array, pos: number, end: number, file: string, fileOffset: number): SymbolTable {
    const found = this.find(bytes, pos, end);
    if (found !== undefined) return found;
    const stored = bytes.slice(pos, end);
    const table = SymbolTable.deserialize(stored, 0, stored.length, file, fileOffset);
    this.keep(table, stored.subarray(0, storedSymbolTableBytes(stored, 0)));
    return table;
  }

  /** Takes in a table that was not read: who reads its bytes from now on gets it, unless another is in use. */
  add(table: SymbolTable): void {
    const writer = new ByteWriter();
    table.serialize(writer);
    const stored = writer.take();
    if (this.find(stored, 0, stored.length) === undefined) this.keep(table, stored);
  }

  private find(bytes: Uint8Array, pos: number, end: number): SymbolTable | undefined {
    if (end - pos < SUM_BYTES) return undefined;
    const known = this.known.get(readU32(bytes, pos));
    if (known === undefined) return undefined;
    const { stored } = known;
    if (stored.length > end - pos) return undefined;
    const order = compareRanges(bytes, pos, pos + stored.length, stored, 0, stored.length);
    return order === 0 ? known.table.deref() : undefined;
  }

  private keep(table: SymbolTable, stored: Uint8Array): void {
    const { known } = this;
    for (const [sum, other] of known) if (other.table.deref() === undefined) known.delete(sum);
    known.set(readU32(stored, 0), { stored, table: new WeakRef(table) });
  }
}
