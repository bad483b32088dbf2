/**
 * The background thread: flushes and compactions away from the thread that serves reads and writes.
 *
 * It is started by `WorkerRunner` with what does not change while the database is open, and then
 * takes requests. It reads sealed memtables through shared memory and opens the segments it merges
 * by itself. It touches no file but segments and value logs, and installs nothing.
 */
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../assert.ts";
import { loadChecksum } from "../bytes/checksum.ts";
import type { RunOutput } from "../compaction/output.ts";
import { joinPath } from "../io/file-system.ts";
import { NodeFileSystem } from "../io/node.ts";
import type { SegmentMeta } from "../manifest/version.ts";
import { BlockCache } from "../segment/block-cache.ts";
import { CoderMemory } from "../segment/coder-memory.ts";
import { Segment } from "../segment/reader.ts";
import type { ValueLogSource } from "../segment/value-log.ts";
import { FileNumbers } from "./file-numbers.ts";
import { segmentFileName } from "./files.ts";
import { JobControl } from "./job-control.ts";
import { compactRuns, flushMemtable, type JobContext } from "./jobs.ts";
import { Memtable } from "./memtable.ts";
import {
  type CompactRequest,
  toPortable,
  type WorkerRequest,
  type WorkerResponse,
  type WorkerSetup,
} from "./worker-protocol.ts";

const port = parentPort;
assert(port !== null, "this module runs in a worker thread");

const { directory, databaseId, fileNumbers, segmentBytes, largeValueBytes, compression } =
  workerData as WorkerSetup;

const context: JobContext = {
  fileSystem: new NodeFileSystem(),
  directory,
  databaseId,
  fileNumbers: new FileNumbers(fileNumbers),
  segmentBytes,
  largeValueBytes,
  compression,
  flushCoders: new CoderMemory(),
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

async function compact({ runs, task, control }: CompactRequest): Promise<RunOutput> {
  const opened: Segment[] = [];
  try {
    const sources: Segment[][] = [];
    for (const run of runs) {
      const segments: Segment[] = [];
      for (const meta of run) {
        const segment = await openSegment(meta);
        opened.push(segment);
        segments.push(segment);
      }
      sources.push(segments);
    }
    return await compactRuns(sources, task, context, giveWay, new JobControl(control));
  } finally {
    for (const segment of opened) await segment.close();
  }
}

function openSegment({ fileNumber }: SegmentMeta): Promise<Segment> {
  return Segment.open({
    fileSystem: context.fileSystem,
    path: joinPath(directory, segmentFileName(fileNumber)),
    identity: { databaseId, fileNumber },
    blockCache,
    valueLogs: NO_VALUE_LOGS,
  });
}

function run(request: WorkerRequest): Promise<RunOutput> {
  if (request.kind === "compact") return compact(request);
  const memtable = Memtable.from(request.memtable);
  const control = new JobControl(request.control);
  return flushMemtable(memtable, request.dropTombstones, context, giveWay, control);
}

async function answer(request: WorkerRequest): Promise<WorkerResponse> {
  const { id } = request;
  try {
    await loadChecksum();
    return { id, output: await run(request) };
  } catch (error) {
    return { id, error: toPortable(error) };
  }
}

port.on("message", (request: WorkerRequest) => {
  // `answer` never rejects.
  void answer(request).then((response) => port.postMessage(response));
});
