// A connection that comes back: one socket at a time, opened again after it was lost, with a pause
// that grows and is different for every client, so that a restarted broker is not met by all of
// them at once. Knows nothing of what is said over it.

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

// Close codes after which trying again would come to the same end.
const FINAL_CODES = new Set([1002, 1003, 1007, 1009, 4403]);
const NO_STATUS = 1006;

export class Link {
  #socket: Socket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #failures = 0;
  #heard = 0;
  #asked = false;
  state: State = "waiting";

  constructor(
    private readonly opener: Opener,
    private readonly times: Times,
    private readonly events: LinkEvents,
  ) {}

  /** Opens it now, if it is not open or opening. */
  open(): void {
    if (this.state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#enter("connecting", "");
    let socket: Socket;
    try {
      socket = this.opener();
    } catch (error) {
      this.#enter("closed", String(error));
      return;
    }
    this.#socket = socket;
    const current = (): boolean => socket === this.#socket;
    this.#timer = setTimeout(() => this.#lost(NO_STATUS, "no answer"), this.times.timeoutMs);
    socket.onopen = () => current() && this.#opened();
    socket.onerror = () => {};
    socket.onmessage = ({ data }: { data: string }) => {
      if (!current()) return;
      this.#heard = Date.now();
      this.#asked = false;
      this.events.message(JSON.parse(data) as Incoming);
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      current() && this.#lost(code, reason);
  }

  /** It has come to good: the next failure is a first one again. */
  settle(): void {
    this.#failures = 0;
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** Gives the socket up without waiting for its goodbye, and comes back as after any loss. */
  drop(reason: string): void {
    if (this.#socket) this.#lost(NO_STATUS, reason);
  }

  /** Asks whether the other side is there; the connection is lost if nothing is heard soon. */
  probe(): void {
    if (this.state !== "connected") return;
    this.#asked = true;
    this.events.probe();
  }

  /** Ends it for good. */
  close(): void {
    if (this.state === "closed") return;
    this.#release(1000);
    this.#enter("closed", "");
  }

  #enter(state: State, detail: string, retryInMs?: number): void {
    this.state = state;
    this.events.state(state, detail, retryInMs);
  }

  #opened(): void {
    clearTimeout(this.#timer);
    this.#heard = Date.now();
    this.#asked = false;
    this.#watch = setInterval(() => this.#look(), this.times.silenceMs / 2);
    this.#enter("connected", "");
    this.events.open();
  }

  #look(): void {
    if (this.#asked) this.drop("silent");
    else if (Date.now() - this.#heard >= this.times.silenceMs) this.probe();
  }

  #lost(code: number, reason: string): void {
    this.#release();
    const why = reason ? `${code}: ${reason}` : `${code}`;
    if (FINAL_CODES.has(code) || !this.events.retries(code)) {
      this.#enter("closed", why);
      return;
    }
    const pause = this.#pause(reason);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.open(), pause);
    this.#enter("waiting", why, pause);
  }

  #release(code?: number): void {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    try {
      socket.close(code);
    } catch {
      // It was still opening, or was closed already.
    }
  }

  // The broker says when to come back if it goes away in good order.
  #pause(reason: string): number {
    const told = /^reconnect in (\d+) ms$/.exec(reason);
    if (told) return Number(told[1]);
    const { backoffFirstMs, backoffMaxMs } = this.times;
    const longest = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(this.#failures, 20));
    return longest * (0.5 + Math.random() / 2);
  }
}
