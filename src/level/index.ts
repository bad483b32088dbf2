/**
 * Everything that memkv/level exports: the database behind the interface of abstract-level.
 */
// biome-ignore-all lint/performance/noBarrelFile: an entry point of the package, exports only

export { MemkvLevel, type MemkvLevelOptions, type MemkvWriteOptions } from "./memkv-level.ts";
