import { AltavozError } from "./error.ts";
import { Emitter } from "./emitter.ts";
import type { State, Times } from "./link.ts";
import type { Command, History, Incoming, Message, PresenceList, Published, Stats, SubscribeOptions } from "./protocol.ts";
import { Subscription } from "./subscription.ts";
/** How to connect. Everything may be left out. */
export interface ClientOptions extends Partial<Times> {
    /** Who this is: a token, or what gives a fresh one whenever one is needed. */
    token?: string | (() => string | Promise<string>);
    /** The constructor, where there is no global one: that of `ws` on Node 20. */
    WebSocket?: new (url: string, protocols: string[]) => unknown;
    /**
     * How to get through: by WebSocket, by server-sent events and plain requests, or by the second
     * where the first has failed twice and never opened. Default `auto`.
     */
    transport?: "auto" | "websocket" | "sse";
    /** Most commands that wait for a connection; further ones are refused. Default 1,000. */
    queueMax?: number;
}
/** What a client tells of. */
export interface ClientEvents {
    state: {
        state: State;
        detail: string;
        retryInMs?: number;
    };
    /** Something was refused that nobody waits for. */
    error: AltavozError;
    /** A notice of the broker that belongs to no subscription. */
    notice: Incoming;
}
/** A connection to a broker that comes back by itself, and what goes over it. */
export declare class Client extends Emitter<ClientEvents> {
    #private;
    /** The broker's name for this connection, once it is open. */
    session: string | undefined;
    /** Begins to connect at once. */
    constructor(url: string | URL, options?: ClientOptions);
    get state(): State;
    /**
     * Subscribes to a topic or filter. Those who ask for the same share one subscription of the
     * broker; to ask for the same filter with other options while it is open is an error.
     */
    subscribe<T = unknown>(topic: string, options?: SubscribeOptions, listener?: (message: Message<T>) => void): Subscription<T>;
    /**
     * Publishes, and tells the place the message was given. While there is no connection it waits for
     * one. Rejected with `connection_lost` if the answer was lost: whether the message was published
     * is then not known. With `count` the answer says how many subscriptions it matched. With
     * `msgId`, a name of 1 to 64 bytes for this message, it is sent again if the answer was lost, and
     * published once.
     */
    publish(topic: string, data: unknown, options?: {
        count?: boolean;
        msgId?: string;
    }): Promise<Published>;
    /** The newest messages that are kept of a topic: 100, or `limit`, at most 1,000. */
    history<T = unknown>(topic: string, limit?: number): Promise<History<T>>;
    /** Who is subscribed to exactly this topic. */
    presence(topic: string): Promise<PresenceList>;
    /** What became of this connection's messages, or of those of its subscription to this filter. */
    stats(topic?: string): Promise<Stats>;
    /** The way there and back, in milliseconds. */
    ping(): Promise<number>;
    /** Any command of the protocol. One that may be repeated is sent again if its answer was lost. */
    command(command: Command, isRepeatable?: boolean): Promise<Incoming>;
    /** Gives the connection up and opens another: for one that is known to be dead. */
    reconnect(): void;
    /** Ends the connection and every subscription. */
    close(): void;
}
/** Connects to the broker at `url`: `wss://host/ws`, `https://host`, or a path of this page's host. */
export declare function connect(url?: string | URL, options?: ClientOptions): Client;
