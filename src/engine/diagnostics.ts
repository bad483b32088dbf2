/**
 * Channels of node:diagnostics_channel, for those who watch a process without touching its code:
 * tracing, metrics. Each message has the database's directory. Without subscribers a channel costs a
 * look at a flag.
 */
import { type Channel, channel } from "node:diagnostics_channel";

/**
 * What is published, as `memkv:` and the name.
 *
 *   open        a database was opened: `{ directory, recovery }`
 *   close       it was closed: `{ directory }`
 *   write       writes became visible, all of a group at once: `{ directory, operationCount, lastSeqno }`
 *   flush, compaction, stall, warning   as the events of a database: `{ directory, event }`
 *   error       as the event: `{ directory, error }`
 */
export const CHANNEL_NAMES = [
  "open",
  "close",
  "write",
  "flush",
  "compaction",
  "stall",
  "warning",
  "error",
] as const;

export type ChannelName = (typeof CHANNEL_NAMES)[number];

const channels = new Map<ChannelName, Channel>(
  CHANNEL_NAMES.map((name) => [name, channel(`memkv:${name}`)]),
);

/** The channel of writes, for the one place that cannot spare a lookup. */
export const writeChannel: Channel = channel("memkv:write");

/** Hands a message to who has subscribed. Never throws: Node reports what a subscriber throws. */
export function publish(name: ChannelName, message: Readonly<Record<string, unknown>>): void {
  const target = channels.get(name);
  if (target?.hasSubscribers) target.publish(message);
}
