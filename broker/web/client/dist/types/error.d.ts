/** Something was refused, or did not come to its end. */
export declare class AltavozError extends Error {
    readonly code: string;
    name: string;
    /**
     * @param code for programs: one of the broker's (`forbidden`, `bad_topic`, …), or of the
     * library's: `connection_lost`, `timeout`, `closed`, `queue_full`, `options_differ`,
     * `no_websocket`.
     * @param message for people.
     */
    constructor(code: string, message: string);
}
