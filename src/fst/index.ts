/**
 * Everything that memkv/fst exports: frozen layers, and the patterns to search them with.
 */
// biome-ignore-all lint/performance/noBarrelFile: an entry point of the package, exports only

export type { Automaton } from "../search/automaton.ts";
export { fuzzy } from "../search/fuzzy.ts";
export { glob } from "../search/glob.ts";
export { regex } from "../search/regex.ts";
export { startsWith } from "../search/starts-with.ts";
export { type AlgebraRange, difference, intersection, union } from "./algebra.ts";
export { FrozenLayerBuilder, type FrozenLayerBuilderOptions } from "./builder.ts";
export type { FrozenCursor } from "./cursor.ts";
export {
  FrozenLayer,
  type FrozenLayerOptions,
  type FrozenLayerStats,
  type FrozenRange,
} from "./frozen-layer.ts";
