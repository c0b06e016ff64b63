import { AltavozError } from "./error.ts";
import { Emitter } from "./emitter.ts";
import type { Feed } from "./feed.ts";
import type { Gap, Message, Mode, PresenceChange, SubscribeOptions } from "./protocol.ts";
/** What a subscription tells of. */
export interface SubscriptionEvents<T> {
    message: Message<T>;
    /** It is in force, for the first time or again; where the topic stands, without wildcards. */
    subscribed: {
        epoch?: string;
        seq?: number;
    } | undefined;
    /** After a break, or with `since`: whether everything that was missed comes now. */
    recovered: {
        recovered: boolean;
    };
    /** Messages that will not come. */
    gap: Gap;
    /** It is served otherwise from here on, because this client is slow or has caught up. */
    mode: Mode;
    presence: PresenceChange;
    /** A pause is over; what is newest follows. */
    resumed: {
        skipped: number;
    };
    /** Nothing has come for longer than the broker expects of this topic. */
    stale: {
        topic: string;
        seq: number;
        silent_ms: number;
    };
    /** The topic that was stale goes on. */
    live: {
        topic: string;
        seq: number;
    };
    /** An iterator was read too slowly, and its oldest messages were dropped. */
    overflow: {
        dropped: number;
    };
    /** The broker refused it; it is closed. */
    error: AltavozError;
    closed: undefined;
}
/** A subscription, until it is closed. */
export declare class Subscription<T = unknown> extends Emitter<SubscriptionEvents<T>> implements AsyncIterable<Message<T>> {
    #private;
    private readonly feed;
    /** @internal */
    isPaused: boolean;
    /** @internal */
    constructor(feed: Feed);
    /** The topic or filter. */
    get topic(): string;
    get isClosed(): boolean;
    /** Comes when the subscription is in force; is rejected if the broker refuses it. */
    ready(): Promise<void>;
    /** Delivers nothing more until it is resumed; nothing is kept in between. */
    pause(): void;
    /** Goes on, with the newest message of each topic that had one. */
    resume(): void;
    /** Other options from here on, for all who share this filter. */
    update(options: SubscribeOptions): void;
    close(): void;
    /** @internal */
    fail(error: AltavozError): void;
    /** @internal */
    tell(name: string, value: unknown): void;
    /** The messages, one after the other. To leave the loop closes the subscription. */
    [Symbol.asyncIterator](): AsyncIterator<Message<T>, undefined>;
}
