/**
 * `memkv/testing`: file systems to test recovery with, of memkv or of any code that is written over
 * the `FileSystem` interface.
 */
export type {
  DirectoryLock,
  File,
  FileSystem,
  OpenMode,
} from "../io/file-system.ts";
export { type DiskImage, MemoryFileSystem } from "../io/memory.ts";
export { NodeFileSystem } from "../io/node.ts";
export type { SystemErrorCode } from "../io/system-error.ts";
export {
  CrashFileSystem,
  type CrashModel,
  type CrashOptions,
  CrashPoint,
  type CrashStateOptions,
  type DiskOperation,
  type OperationListener,
} from "./crash-file-system.ts";
export {
  type Effect,
  type Fault,
  FaultFileSystem,
  type OperationKind,
  type StruckOperation,
} from "./fault-file-system.ts";
