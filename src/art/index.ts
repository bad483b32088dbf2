/**
 * Everything that memkv/art exports.
 */
// biome-ignore-all lint/performance/noBarrelFile: an entry point of the package, exports only
export {
  ArenaArt,
  type ArenaArtEntry,
  type ArenaArtHandle,
  type ArenaArtOptions,
  type KeyRange,
  type Visitor,
} from "./arena-art.ts";
export { ArenaArtReader } from "./arena-art-reader.ts";
