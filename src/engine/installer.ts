/**
 * Installer: makes the files that a flush, a compaction or an ingest wrote part of the database, on
 * disk and then for readers (versions.ts), or removes them if that fails.
 */
import type { JobOutput } from "../jobs/jobs.ts";
import { type Run, versionOf } from "../manifest/version.ts";
import type { Memtable } from "../memtable/memtable.ts";
import type { Sources } from "./sources.ts";
import { isPoisoning, type VersionStore } from "./versions.ts";

/** What installing needs of the store. */
export interface InstallHost {
  readonly versions: VersionStore;
  readonly sources: Sources;
  replaceSources(sources: Sources): void;
  /** Resolves once a manifest may call any log the oldest needed. */
  logFounded(): Promise<void>;
  /** Called when it is unknown what a crash would find on disk. */
  poison(cause: unknown): void;
}

export class Installer {
  private readonly host: InstallHost;
  private readonly onChange: () => void;
  /** Counts what is installed, to tell whether anything was since. */
  count = 0;

  /** `onChange` is called when there are other memtables or runs than before. */
  constructor(host: InstallHost, onChange: () => void) {
    this.host = host;
    this.onChange = onChange;
  }

  /**
   * Rejects where it fails: the files are removed then, or the database is poisoned. `flushed` is the
   * memtable that they take the place of; `onInstalled` is called in the step that shows them to readers.
   */
  async install(
    { run, valueLogs, sections }: JobOutput,
    changeRuns: (runs: readonly Run[]) => readonly Run[],
    progress: { readonly oldestWal?: number; readonly lastSeqno?: number },
    flushed?: Memtable,
    onInstalled?: () => void,
  ): Promise<void> {
    const { host } = this;
    const added = { segments: run, valueLogs, sections };
    // From here on, since a thread that dies has what it wrote and nobody is going to use removed.
    const fileNumbers = [...run, ...valueLogs].map((meta) => meta.fileNumber);
    for (const fileNumber of fileNumbers) host.versions.announce(fileNumber);
    try {
      if (progress.oldestWal !== undefined) await host.logFounded();
      await host.versions.edit(
        added,
        (manifest) => {
          const { version } = manifest;
          const runs = changeRuns(version.runs);
          const next = versionOf(runs, [...version.valueLogs, ...valueLogs]);
          return { ...manifest, ...progress, version: next };
        },
        (version) => {
          const { memtables } = host.sources;
          const left =
            flushed === undefined ? memtables : memtables.filter((other) => other !== flushed);
          host.replaceSources({ memtables: left, version });
          this.count++;
          onInstalled?.();
          this.onChange();
        },
      );
    } catch (error) {
      if (isPoisoning(error)) host.poison(error);
      else await host.versions.removeFiles(added);
      throw error;
    } finally {
      host.versions.release(fileNumbers);
    }
  }
}
