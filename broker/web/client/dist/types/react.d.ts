import type { Client } from "./client.ts";
import type { Message, SubscribeOptions } from "./protocol.ts";
/** The newest message of a topic, undefined until there is one. */
export declare function useTopic<T = unknown>(client: Client, topic: string, options?: SubscribeOptions): Message<T> | undefined;
/** The newest message of each topic that a filter matches. */
export declare function useTopics<T = unknown>(client: Client, filter: string, options?: SubscribeOptions): ReadonlyMap<string, Message<T>>;
