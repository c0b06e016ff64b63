// A WebSocket that comes back: one connection to this broker at a time, opened again after it was
// lost, with a pause that grows and is different for every page, so that a restarted broker is not
// met by all of them at once. Used by page.js; knows nothing of what the page shows.

const PAUSE_FIRST_MS = 500;
const PAUSE_MAX_MS = 15000;
// Close codes after which trying again would give the same end.
const FINAL_CODES = new Set([1002, 1003, 1007, 1009, 4403]);

export class Link {
  #address;
  #on;
  #socket = null;
  #failures = 0;

  // `on` holds three functions: state(name, detail), open(), message(object).
  constructor(address, on) {
    this.#address = address;
    this.#on = on;
  }

  open() {
    this.#on.state("connecting", "");
    const socket = new WebSocket(this.#address, "altavoz.v1.json");
    this.#socket = socket;
    socket.onopen = () => {
      this.#on.state("connected", "");
      this.#on.open();
    };
    socket.onmessage = (event) => {
      this.#failures = 0;
      const parsed = JSON.parse(event.data);
      for (const message of Array.isArray(parsed) ? parsed : [parsed]) this.#on.message(message);
    };
    socket.onclose = (event) => this.#handleClose(event);
  }

  // Sends a command if the connection is open and has taken what was sent before.
  send(command) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > 0) return false;
    socket.send(JSON.stringify(command));
    return true;
  }

  #handleClose(event) {
    const why = event.reason ? `${event.code}: ${event.reason}` : `${event.code}`;
    if (FINAL_CODES.has(event.code)) {
      this.#on.state("closed", why);
      return;
    }
    const pause = this.#pause(event.reason);
    this.#failures += 1;
    this.#on.state("reconnecting", `in ${(pause / 1000).toFixed(1)} s (closed with ${why})`);
    setTimeout(() => this.open(), pause);
  }

  // The broker says when to come back if it goes away in good order.
  #pause(reason) {
    const told = /^reconnect in (\d+) ms$/.exec(reason);
    if (told) return Number(told[1]);
    const longest = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.min(this.#failures, 10));
    return longest * (0.5 + Math.random() / 2);
  }
}
