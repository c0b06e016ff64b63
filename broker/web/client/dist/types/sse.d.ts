import type { Socket } from "./link.ts";
export declare class SseSocket implements Socket {
    #private;
    private readonly cursors;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    /**
     * @param url the WebSocket's; the broker's other addresses are beside it.
     * @param cursors where each stream was last; they outlive the socket.
     */
    constructor(url: string, cursors: Map<string, string>);
    send(text: string): void;
    close(): void;
}
