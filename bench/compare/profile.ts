/**
 * CPU profiles of what a workload measures, and of nothing else it does: the thread that calls the
 * store, by function, where each sample counts for the function that was running (self time).
 *
 * What is measured comes in sections. Where a workload has one for each of its rows, each row has a
 * profile of its own; the others have one for all that they measure.
 */
import { type Profiler, Session } from "node:inspector";

/** What share of a section's time a function had. */
export interface FunctionShare {
  readonly name: string;
  readonly share: number;
}

/** What was measured for a row, or for all rows of a workload. */
export interface MeasuredProfile {
  /** Of the row, or the workload. */
  readonly name: string;
  readonly ms: number;
  /** The largest share first. */
  readonly functions: readonly FunctionShare[];
}

/** A tenth of a millisecond: an open takes no more than a few hundred samples of it. */
const SAMPLING_MICROS = 100;

type Section = ReadonlyMap<string, number>;

class SectionProfiler {
  readonly sections: Section[] = [];
  private readonly session = new Session();

  constructor() {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.setSamplingInterval", { interval: SAMPLING_MICROS });
  }

  begin(): void {
    this.session.post("Profiler.start");
  }

  end(): void {
    // In the session's own thread the answer is there when the call returns.
    this.session.post("Profiler.stop", (error, answer) => {
      if (error !== null) throw new Error("no profile was taken", { cause: error });
      this.sections.push(sectionOf(answer.profile));
    });
  }
}

/** Microseconds by function, without what the profiler itself takes. */
function sectionOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Section {
  const names = new Map<number, string>();
  // Parents come before their children.
  const own = new Set<number>();
  for (const { id, callFrame, children = [] } of nodes) {
    names.set(id, nameOf(callFrame));
    if (callFrame.url !== "node:inspector" && !own.has(id)) continue;
    own.add(id);
    for (const child of children) own.add(child);
  }
  const micros = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const name = names.get(id);
    if (name === undefined || own.has(id)) continue;
    micros.set(name, (micros.get(name) ?? 0) + Math.max(0, timeDeltas[i] ?? 0));
  }
  return micros;
}

function nameOf({ functionName, url }: Profiler.ProfileNode["callFrame"]): string {
  if (url.startsWith("node:")) return `${functionName} (${url})`;
  return functionName === "" ? "(anonymous)" : functionName;
}

let profiler: SectionProfiler | undefined;

/** From here on sections are profiled, which slows them by some percent. */
export function startProfiling(): void {
  profiler = new SectionProfiler();
}

export function beginSection(): void {
  profiler?.begin();
}

export function endSection(): void {
  profiler?.end();
}

/** What was profiled in a workload, whose rows have these names. */
export function takeProfiles(workload: string, rows: readonly string[]): MeasuredProfile[] {
  const sections = profiler?.sections ?? [];
  if (sections.length === rows.length) {
    return sections.map((section, i) => summarize(rows[i], [section]));
  }
  return sections.length === 0 ? [] : [summarize(workload, sections)];
}

function summarize(name: string, sections: readonly Section[]): MeasuredProfile {
  const micros = new Map<string, number>();
  let all = 0;
  for (const [called, own] of sections.flatMap((section) => [...section])) {
    micros.set(called, (micros.get(called) ?? 0) + own);
    all += own;
  }
  const functions = [...micros].map(([called, own]) => ({ name: called, share: own / all }));
  functions.sort((a, b) => b.share - a.share);
  return { name, ms: all / 1000, functions };
}

/** Functions that are shown of each, and the least share of one. */
const MOST_SHOWN = 12;
const LEAST_SHOWN = 0.02;

export function formatProfiles(profiles: readonly MeasuredProfile[]): string {
  const lines = profiles.map(({ name, ms, functions }) => {
    const shown = functions.slice(0, MOST_SHOWN).filter(({ share }) => share >= LEAST_SHOWN);
    const shares = shown.map((each) => `${each.name} ${Math.round(each.share * 100)}%`);
    return `| ${name} | ${Math.round(ms)} | ${shares.join(", ")} |`;
  });
  return ["| row | ms | self time by function |", "| --- | --- | --- |", ...lines].join("\n");
}
