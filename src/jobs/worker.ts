/**
 * The background thread: flushes and compactions away from the thread that serves reads and writes.
 *
 * It is started by `WorkerRunner` with what does not change while the database is open, and then
 * takes requests. Sealed memtables, and the sections of the segments that it merges, it reads in the
 * memory of the thread that serves; that thread gets the sections of new segments in return, read and
 * checked. It touches no file but segments and value logs, and installs nothing.
 */
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../assert.ts";
import { loadChecksum } from "../bytes/checksum.ts";
import { BlockCache } from "../cache/block-cache.ts";
import { joinPath } from "../io/file-system.ts";
import { NodeFileSystem } from "../io/node.ts";
import { FileNumbers } from "../manifest/file-numbers.ts";
import { segmentFileName } from "../manifest/files.ts";
import { Memtable } from "../memtable/memtable.ts";
import { Segment } from "../segment/reader.ts";
import type { SharedSections } from "../segment/resident-sections.ts";
import type { ValueLogSource } from "../segment/value-log.ts";
import { SymbolTables } from "../symbols/tables.ts";
import { JobControl } from "./job-control.ts";
import { compactRuns, flushMemtable, type JobContext, type JobOutput } from "./jobs.ts";
import { MergeCoders } from "./merge-coders.ts";
import {
  type CompactRequest,
  type FlushRequest,
  type JobRequest,
  type SharedSegment,
  toPortable,
  type WorkerRequest,
  type WorkerResponse,
  type WorkerSetup,
} from "./worker-protocol.ts";

const port = parentPort;
assert(port !== null, "this module runs in a worker thread");

const { directory, databaseId, fileNumbers, segmentBytes, largeValueBytes, compression } =
  workerData as WorkerSetup;

/** Of the segments that are merged, and of those that are written. */
const symbolTables = new SymbolTables();

const context: JobContext = {
  fileSystem: new NodeFileSystem(),
  directory,
  databaseId,
  fileNumbers: new FileNumbers(fileNumbers),
  segmentBytes,
  largeValueBytes,
  compression,
  mergeCoders: new MergeCoders(symbolTables),
};

/** Merging reads each block once: nothing is worth keeping. */
const blockCache = new BlockCache(0);

/** Values in value logs are not read through the segments. */
const NO_VALUE_LOGS: ValueLogSource = new Map();

/** Pauses between two turns of the event loop, in which requests arrive and jobs take turns. */
const PAUSES_PER_TURN = 16;
let pauseCount = 0;

async function giveWay(): Promise<void> {
  pauseCount = (pauseCount + 1) % PAUSES_PER_TURN;
  if (pauseCount === 0) await setImmediate();
}

/** Flushes under way. Writers may be waiting for them, and nobody for a compaction. */
const flushes = new Set<Promise<JobOutput>>();

/**
 * The pause of a compaction: it stands still as long as there is something to flush, unless it is
 * urgent. That is looked at between flushes: one that never ended for the next would starve it.
 */
async function giveWayToFlushes(control: JobControl): Promise<void> {
  await giveWay();
  while (flushes.size > 0 && !control.isUrgent) await Promise.race(flushes).catch(() => {});
}

async function compact({ runs, samples, task, control }: CompactRequest): Promise<JobOutput> {
  const opened: Segment[] = [];
  const openAll = async (run: readonly SharedSegment[]): Promise<Segment[]> => {
    const segments: Segment[] = [];
    for (const shared of run) {
      const segment = await openSegment(shared);
      opened.push(segment);
      segments.push(segment);
    }
    return segments;
  };
  try {
    const sources: Segment[][] = [];
    for (const run of runs) sources.push(await openAll(run));
    const inputs = new Set(runs.flat().map(({ fileNumber }) => fileNumber));
    const jobControl = new JobControl(control);
    const pause = (): Promise<void> => giveWayToFlushes(jobControl);
    const openSamples = (): Promise<Segment[]> => openAll(samples);
    const output = await compactRuns(sources, task, context, pause, jobControl, openSamples);
    return await withSections(output, inputs);
  } finally {
    for (const segment of opened) await segment.close();
  }
}

/** Reads the sections of what was written, that is of all segments but these. */
async function withSections(output: JobOutput, inputs: ReadonlySet<number>): Promise<JobOutput> {
  const sections = new Map<number, SharedSections>();
  for (const { fileNumber } of [...output.run, ...(output.kept ?? []).flat()]) {
    if (inputs.has(fileNumber)) continue;
    try {
      const segment = await openSegment({ fileNumber });
      const shared = segment.shareSections();
      if (shared !== undefined) sections.set(fileNumber, shared);
      await segment.close();
    } catch {
      // Who opens it to serve reads it then, and reports what is wrong with it.
    }
  }
  return { ...output, sections };
}

/** A segment, of which the sections may have been read by the thread that serves. */
function openSegment({ fileNumber, sections }: SharedSegment): Promise<Segment> {
  return Segment.open({
    fileSystem: context.fileSystem,
    path: joinPath(directory, segmentFileName(fileNumber)),
    identity: { databaseId, fileNumber },
    blockCache,
    symbolTables,
    valueLogs: NO_VALUE_LOGS,
    sections,
  });
}

async function flush(request: FlushRequest): Promise<JobOutput> {
  const memtable = Memtable.from(request.memtable);
  const control = new JobControl(request.control);
  const output = await flushMemtable(memtable, request.task, context, giveWay, control);
  return await withSections(output, new Set());
}

async function run(request: JobRequest): Promise<JobOutput> {
  if (request.kind === "compact") return await compact(request);
  const flushed = flush(request);
  flushes.add(flushed);
  try {
    return await flushed;
  } finally {
    flushes.delete(flushed);
  }
}

async function answer(request: JobRequest): Promise<WorkerResponse> {
  const { id } = request;
  try {
    await loadChecksum();
    return { id, output: await run(request) };
  } catch (error) {
    return { id, error: toPortable(error) };
  }
}

port.on("message", (request: WorkerRequest) => {
  if (request.kind === "end") {
    port.close();
    return;
  }
  // `answer` never rejects.
  void answer(request).then((response) => port.postMessage(response));
});
