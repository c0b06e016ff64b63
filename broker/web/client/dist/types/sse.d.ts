import type { Socket } from "./link.ts";
export declare class SseSocket implements Socket {
    #private;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    /** @param url the WebSocket's; the broker's other addresses are beside it. */
    constructor(url: string);
    send(text: string): void;
    close(): void;
}
