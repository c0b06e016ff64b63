// The package `altavoz`: everything that is public, but for the React hooks.

export { Client, connect } from "./client.ts";
export type { ClientEvents, ClientOptions } from "./client.ts";
export { AltavozError } from "./error.ts";
export { matches } from "./filter.ts";
export type { State, Times } from "./link.ts";
export type {
  Command, Gap, History, Incoming, Member, Message, Mode, Position, PresenceChange, PresenceList,
  Published, Stats, SubscribeOptions,
} from "./protocol.ts";
export { Subscription } from "./subscription.ts";
export type { SubscriptionEvents } from "./subscription.ts";
