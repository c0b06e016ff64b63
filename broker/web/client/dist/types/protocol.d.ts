/** A place in a topic's order: what a client that comes back says it has. */
export interface Position {
    epoch: string;
    seq: number;
}
/** How a subscription is to be served. Everything may be left out. */
export interface SubscribeOptions {
    /** Begin with the last message of every matching topic. */
    last?: boolean;
    /** Begin after this message; under a filter with wildcards, after these, by topic. */
    since?: Position | Record<string, Position>;
    /** Every message, or only ever the newest of a topic. Left out: what the broker's rule says. */
    mode?: "all" | "latest";
    /** With `latest`: at most so many messages a second of a topic or key. */
    maxRate?: number;
    /** JSON pointer into `data`: what tells the values of one topic apart. */
    key?: string;
    /** Only these top-level members of `data`; 1 to 64 names. */
    fields?: readonly string[];
    /** Only when this number has moved by so much, or so many per cent. */
    deadband?: {
        field: string;
        abs?: number;
        pct?: number;
        maxSilenceMs?: number;
    };
    /** Tell who joins and leaves; not under wildcards. */
    presence?: boolean;
    /**
     * What to do while the page is hidden. `pause` delivers nothing, and the newest values when it is
     * seen again; the default with mode `latest`. `keep` goes on; the default otherwise.
     */
    whenHidden?: "pause" | "keep";
}
/** A published message. */
export interface Message<T = unknown> {
    topic: string;
    /** Its number in the topic's epoch, from 1. */
    seq: number;
    /** What was published; null if it was bytes. */
    data: T;
    /** What was published, if it was bytes. */
    bytes?: Uint8Array;
}
/** Messages that will not come. */
export interface Gap {
    topic: string;
    from: number;
    to: number;
    /** `overflow`: read too slowly. `expired`: no longer kept. `backplane`: lost between nodes. */
    reason: string;
}
/** From here on a subscription is served otherwise. */
export interface Mode {
    topic: string;
    now: "all" | "latest" | "slow";
    reason: string;
}
/** Someone who is subscribed to a topic. */
export interface Member {
    /** Null without a token. */
    user: string | null;
    session: string;
}
/** Who came and went, and how many are there. */
export interface PresenceChange {
    topic: string;
    join?: Member;
    leave?: Member;
    joined?: Member[];
    left?: Member[];
    count: number;
}
/** The place a message was given. */
export interface Published extends Position {
    level: string;
    /** With `count`: how many subscriptions of the whole broker it matched. */
    subscribers?: number;
}
/** The newest messages of a topic that are kept, oldest first. */
export interface History<T = unknown> extends Position {
    topic: string;
    messages: Message<T>[];
}
/** Who is subscribed to a topic. */
export interface PresenceList {
    topic: string;
    count: number;
    members: Member[];
}
/** What became of the messages of this connection. */
export type Stats = Record<"subscriptions" | "received" | "matched" | "sent" | "conflated" | "filtered" | "dropped" | "skipped" | "pending" | "pending_bytes" | "behind_ms", number>;
/** A command as it is sent, without its id. */
export type Command = {
    op: string;
} & Record<string, unknown>;
/** Anything the broker sends. */
export type Incoming = Record<string, unknown>;
/** Options as the protocol spells them; what a subscribe carries besides its topic. */
export declare function spell(options: SubscribeOptions): Record<string, unknown>;
/** A message as the broker sent it, its bytes decoded. */
export declare function readMessage(sent: Incoming, topic?: string): Message;
