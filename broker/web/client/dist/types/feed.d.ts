import type { Command, Incoming, Message, SubscribeOptions } from "./protocol.ts";
import type { AltavozError } from "./error.ts";
import type { Subscription } from "./subscription.ts";
/** What a feed asks the connection for. */
export interface Line {
    isOpen(): boolean;
    ask(command: Command, done: (ok: Incoming) => void, failed: (error: AltavozError) => void): void;
    isHidden(): boolean;
    forget(feed: Feed): void;
}
export declare class Feed {
    #private;
    readonly filter: string;
    options: SubscribeOptions;
    private readonly line;
    readonly handles: Set<Subscription<never>>;
    readonly isWild: boolean;
    constructor(filter: string, options: SubscribeOptions, line: Line);
    get isLatest(): boolean;
    /** A subscriber more; it gets what those before it got first. */
    join(handle: Subscription<never>): void;
    leave(handle: Subscription<never>): void;
    /** Other options from here on. */
    change(options: SubscribeOptions): void;
    /** The connection is open anew. */
    open(): void;
    /** Brings the broker's view of it in line with ours: on, paused, or not at all. */
    sync(): void;
    /** The broker has ended it, or never began it. */
    end(error: AltavozError): void;
    /** The epoch of a topic that has begun under a filter with wildcards. */
    learn(topic: string, epoch: string): void;
    /** A message that the filter matches. */
    take(message: Message): void;
    tell(name: string, value: unknown): void;
}
