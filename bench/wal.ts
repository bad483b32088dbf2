/**
 * The log alone, on the real disk: synced appends with and without space taken ahead, unsynced
 * appends, and replay.
 *
 * `npx tsx bench/wal.ts [directory]`. Variants are interleaved; ratios within one run are what counts.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadChecksum } from "../src/bytes/checksum.ts";
import { NodeFileSystem } from "../src/io/node.ts";
import { RECORD_HEADER_BYTES } from "../src/wal/format.ts";
import { replayWal } from "../src/wal/reader.ts";
import { WalWriter } from "../src/wal/writer.ts";

const ROUNDS = 5;
const SYNCED_APPENDS = 200;
const UNSYNCED_APPENDS = 200_000;
const PAYLOAD_BYTES = 70;
/** Of the record of a group of writers. */
const GROUP_BYTES = 7000;

const fileSystem = new NodeFileSystem();
const directory = await mkdtemp(join(process.argv[2] ?? tmpdir(), "memkv-bench-wal-"));
const databaseId = crypto.getRandomValues(new Uint8Array(16));
let fileNumber = 0;

async function create(preallocateBytes: number): Promise<WalWriter> {
  fileNumber++;
  const path = join(directory, `${fileNumber}.wal`);
  const identity = { databaseId, fileNumber };
  const writer = await WalWriter.create({ fileSystem, path, identity, preallocateBytes });
  await writer.sync();
  await fileSystem.syncDirectory(directory);
  return writer;
}

/** Microseconds for each synced append: the median. */
async function synced(payloadBytes: number, preallocateBytes: number): Promise<number> {
  const writer = await create(preallocateBytes);
  const record = new Uint8Array(RECORD_HEADER_BYTES + payloadBytes).fill(1);
  const times: number[] = [];
  for (let i = 0; i < SYNCED_APPENDS; i++) {
    const start = performance.now();
    writer.appendSync(record, record.length);
    await writer.sync();
    times.push((performance.now() - start) * 1000);
  }
  await writer.close();
  return median(times);
}

/** Microseconds for each unsynced append, and for each record replayed: means. */
async function unsynced(): Promise<{ append: number; replay: number }> {
  const writer = await create(0);
  const record = new Uint8Array(RECORD_HEADER_BYTES + PAYLOAD_BYTES).fill(1);
  const start = performance.now();
  for (let i = 0; i < UNSYNCED_APPENDS; i++) writer.appendSync(record, record.length);
  const appended = performance.now();
  await writer.close();
  const identity = { databaseId, fileNumber };
  const options = {
    fileSystem,
    path: writer.path,
    identity,
    isNewest: true,
    mode: "absolute",
  } as const;
  const closed = performance.now();
  const { records } = await replayWal(options, () => {});
  if (records !== UNSYNCED_APPENDS) throw new Error(`${records} records came back`);
  const scale = 1000 / UNSYNCED_APPENDS;
  return { append: (appended - start) * scale, replay: (performance.now() - closed) * scale };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

await loadChecksum();
const plain: number[] = [];
const ahead: number[] = [];
const plainGroups: number[] = [];
const aheadGroups: number[] = [];
const append: number[] = [];
const replay: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  plain.push(await synced(PAYLOAD_BYTES, 0));
  ahead.push(await synced(PAYLOAD_BYTES, 2 ** 18));
  plainGroups.push(await synced(GROUP_BYTES, 0));
  aheadGroups.push(await synced(GROUP_BYTES, 2 ** 18));
  const times = await unsynced();
  append.push(times.append);
  replay.push(times.replay);
}
await rm(directory, { recursive: true });
console.log(
  `Node ${process.version}, records of ${PAYLOAD_BYTES} bytes, medians of ${ROUNDS} rounds`,
);
console.log(`append and sync               ${median(plain).toFixed(0)} us`);
console.log(`the same with space ahead     ${median(ahead).toFixed(0)} us`);
console.log(`append and sync ${GROUP_BYTES} bytes    ${median(plainGroups).toFixed(0)} us`);
console.log(`the same with space ahead     ${median(aheadGroups).toFixed(0)} us`);
console.log(`append without sync           ${median(append).toFixed(2)} us`);
console.log(`replay                        ${median(replay).toFixed(2)} us`);
