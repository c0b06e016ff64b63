// The one kind of error that the library throws, rejects with and tells of.

/** Something was refused, or did not come to its end. */
export class AltavozError extends Error {
  override name = "AltavozError";

  /**
   * @param code for programs: one of the broker's (`forbidden`, `bad_topic`, …), or of the
   * library's: `connection_lost`, `timeout`, `closed`, `queue_full`, `options_differ`,
   * `no_websocket`.
   * @param message for people.
   */
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}
