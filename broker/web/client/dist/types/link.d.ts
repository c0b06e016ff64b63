import type { Incoming } from "./protocol.ts";
/** How the connection stands. */
export type State = "connecting" | "connected" | "waiting" | "closed";
/** How long to wait, in milliseconds. */
export interface Times {
    /** The pause after the first failure; each further one doubles it. Default 500. */
    backoffFirstMs: number;
    /** The longest pause. Default 15,000. */
    backoffMaxMs: number;
    /** For a connection to open, or for a command to be answered. Default 10,000. */
    timeoutMs: number;
    /** Silence after which the broker is asked whether it is there. Default 20,000. */
    silenceMs: number;
}
/** What a link tells its owner. */
export interface LinkEvents {
    state(state: State, detail: string, retryInMs?: number): void;
    open(): void;
    message(message: Incoming): void;
    /** Send something that will be answered: nothing was heard for a while. */
    probe(): void;
    /** May it try again after it was closed with this code? */
    retries(code: number): boolean;
}
/** The part of a WebSocket that is needed; those of browsers, Node and `ws` have it. */
export interface Socket {
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    send(text: string): void;
    close(code?: number, reason?: string): void;
}
/** Opens a socket. */
export type Opener = () => Socket;
export declare class Link {
    #private;
    private readonly opener;
    private readonly times;
    private readonly events;
    state: State;
    constructor(opener: Opener, times: Times, events: LinkEvents);
    /** Opens it now, if it is not open or opening. */
    open(): void;
    /** It has come to good: the next failure is a first one again. */
    settle(): void;
    send(text: string): void;
    /** Gives the socket up without waiting for its goodbye, and comes back as after any loss. */
    drop(reason: string): void;
    /** Asks whether the other side is there; the connection is lost if nothing is heard soon. */
    probe(): void;
    /** Ends it for good. */
    close(): void;
}
