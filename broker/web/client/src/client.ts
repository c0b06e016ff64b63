// The client: one connection, many subscriptions, and the commands that are answered.

import { AltavozError } from "./error.ts";
import { Emitter } from "./emitter.ts";
import { Feed } from "./feed.ts";
import { matches } from "./filter.ts";
import { Link } from "./link.ts";
import type { Socket, State, Times } from "./link.ts";
import { readMessage } from "./protocol.ts";
import type {
  Command, History, Incoming, Message, PresenceList, Published, Stats, SubscribeOptions,
} from "./protocol.ts";
import { SseSocket } from "./sse.ts";
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
  state: { state: State; detail: string; retryInMs?: number };
  /** Something was refused that nobody waits for. */
  error: AltavozError;
  /** A notice of the broker that belongs to no subscription. */
  notice: Incoming;
}

interface Asked {
  command: Command;
  /** What its answer is known by, since it was sent. */
  id?: number;
  isRepeatable: boolean;
  done(ok: Incoming): void;
  failed(error: AltavozError): void;
}

const DEFAULTS: Times & { queueMax: number } = {
  backoffFirstMs: 500,
  backoffMaxMs: 15_000,
  timeoutMs: 10_000,
  silenceMs: 20_000,
  queueMax: 1000,
};
const UNAUTHORIZED = 4401;
/** Topics of which it is remembered whose subscriptions they match. */
const ROUTES_MAX = 10_000;

/** A connection to a broker that comes back by itself, and what goes over it. */
export class Client extends Emitter<ClientEvents> {
  /** The broker's name for this connection, once it is open. */
  session: string | undefined;
  readonly #options: ClientOptions & typeof DEFAULTS;
  readonly #link: Link;
  readonly #feeds = new Map<string, Feed>();
  readonly #routes = new Map<string, Feed[]>();
  readonly #asked = new Map<number, Asked>();
  readonly #cursors = new Map<string, string>();
  #queue: Asked[] = [];
  #id = 0;
  #isOpen = false;
  #hasOpened = false;
  #failures = 0;
  #cleanUp: (() => void)[] = [];

  /** Begins to connect at once. */
  constructor(url: string | URL, options: ClientOptions = {}) {
    super();
    this.#options = { ...DEFAULTS, ...options };
    const address = addressOf(url);
    const opener = (): Socket => {
      if (this.#needsSse()) return new SseSocket(address, this.#cursors);
      const Constructor = options.WebSocket ?? globalThis.WebSocket;
      if (!Constructor) throw new AltavozError("no_websocket", "give a `WebSocket` in the options");
      return new Constructor(address, ["altavoz.v1.json"]) as Socket;
    };
    this.#link = new Link(opener, this.#options, {
      state: (state, detail, retryInMs) => this.#enter(state, detail, retryInMs),
      open: () => void this.#introduce(),
      message: (message) => this.#take(message),
      probe: () => this.#probe(),
      retries: (code) => code !== UNAUTHORIZED || typeof options.token === "function",
    });
    this.#followPage();
    this.#link.open();
  }

  get state(): State {
    return this.#link.state;
  }

  /**
   * Subscribes to a topic or filter. Those who ask for the same share one subscription of the
   * broker; to ask for the same filter with other options while it is open is an error.
   */
  subscribe<T = unknown>(
    topic: string,
    options: SubscribeOptions = {},
    listener?: (message: Message<T>) => void,
  ): Subscription<T> {
    let feed = this.#feeds.get(topic);
    if (!feed) {
      feed = new Feed(topic, options, {
        isOpen: () => this.#isOpen,
        isHidden,
        ask: (command, done, failed) => this.#ask({ command, isRepeatable: false, done, failed }),
        forget: (feed) => {
          this.#feeds.delete(feed.filter);
          this.#routes.clear();
        },
      });
      this.#feeds.set(topic, feed);
      this.#routes.clear();
    } else if (JSON.stringify(feed.options) !== JSON.stringify(options)) {
      throw new AltavozError("options_differ", `${topic} is subscribed to with other options`);
    }
    const subscription = new Subscription<T>(feed);
    if (listener) subscription.on("message", listener);
    // Not before the caller had the time to listen.
    queueMicrotask(() => {
      if (!subscription.isClosed) feed.join(subscription as unknown as Subscription<never>);
    });
    return subscription;
  }

  /**
   * Publishes, and tells the place the message was given. While there is no connection it waits for
   * one. Rejected with `connection_lost` if the answer was lost: whether the message was published
   * is then not known. With `count` the answer says how many subscriptions it matched. With
   * `msgId`, a name of 1 to 64 bytes for this message, it is sent again if the answer was lost, and
   * published once.
   */
  publish(topic: string, data: unknown, options: { count?: boolean; msgId?: string } = {}): Promise<Published> {
    const payload = data instanceof Uint8Array ? { base64: toBase64(data) } : { data };
    const { msgId, ...rest } = options;
    const named = msgId === undefined ? {} : { msg_id: msgId };
    const command = { op: "publish", topic, ...payload, ...rest, ...named };
    return this.command(command, msgId !== undefined) as Promise<unknown> as Promise<Published>;
  }

  /** The newest messages that are kept of a topic: 100, or `limit`, at most 1,000. */
  async history<T = unknown>(topic: string, limit?: number): Promise<History<T>> {
    const ok = await this.command({ op: "history", topic, limit });
    const messages = (ok.messages as Incoming[]).map((sent) => readMessage(sent, topic));
    return { ...ok, messages } as unknown as History<T>;
  }

  /** Who is subscribed to exactly this topic. */
  presence(topic: string): Promise<PresenceList> {
    return this.command({ op: "presence", topic }) as Promise<unknown> as Promise<PresenceList>;
  }

  /** What became of this connection's messages, or of those of its subscription to this filter. */
  stats(topic?: string): Promise<Stats> {
    return this.command({ op: "stats", topic }) as Promise<Stats>;
  }

  /** The way there and back, in milliseconds. */
  async ping(): Promise<number> {
    const sent = performance.now();
    await this.command({ op: "ping" });
    return performance.now() - sent;
  }

  /** Any command of the protocol. One that may be repeated is sent again if its answer was lost. */
  command(command: Command, isRepeatable = true): Promise<Incoming> {
    return new Promise((resolve, reject) => {
      const { timeoutMs } = this.#options;
      const tooLate = (): void => {
        this.#queue = this.#queue.filter((waiting) => waiting !== asked);
        if (asked.id !== undefined) this.#asked.delete(asked.id);
        reject(new AltavozError("timeout", `${command.op}: no answer within ${timeoutMs} ms`));
      };
      const timer = setTimeout(tooLate, timeoutMs);
      const asked: Asked = {
        command,
        isRepeatable,
        done: (ok) => (clearTimeout(timer), resolve(ok)),
        failed: (error) => (clearTimeout(timer), reject(error)),
      };
      this.#ask(asked);
    });
  }

  /** Gives the connection up and opens another: for one that is known to be dead. */
  reconnect(): void {
    if (this.state === "connected") this.#link.drop("asked to");
    this.#link.open();
  }

  /** Ends the connection and every subscription. */
  close(): void {
    this.#link.close();
  }

  #ask(asked: Asked): void {
    if (this.#isOpen) this.#send(asked);
    else if (this.state === "closed") asked.failed(closedError());
    else if (this.#queue.length < this.#options.queueMax) this.#queue.push(asked);
    else asked.failed(new AltavozError("queue_full", "too many commands wait for a connection"));
  }

  #send(asked: Asked): void {
    const id = (asked.id = ++this.#id);
    this.#asked.set(id, asked);
    this.#link.send(JSON.stringify({ id, ...asked.command }));
  }

  #probe(): void {
    const failed = (error: AltavozError): void => this.emit("error", error);
    this.#send({ command: { op: "ping" }, isRepeatable: false, done: () => {}, failed });
  }

  /** Says who it is, and then everything that waited for a connection. */
  async #introduce(): Promise<void> {
    if (!(await this.#authenticate())) return;
    this.#isOpen = true;
    for (const feed of [...this.#feeds.values()]) feed.open();
    for (const asked of this.#queue.splice(0)) this.#ask(asked);
  }

  /** True if what follows may be sent: on the connection it was begun on, with a token that holds. */
  async #authenticate(): Promise<boolean> {
    let isLost = false;
    const stop = this.on("state", () => (isLost = true));
    const { token: source } = this.#options;
    try {
      const token = typeof source === "function" ? await source() : source;
      if (isLost) return false;
      const answered = this.#connect(token);
      // Without a token nothing depends on the answer.
      return token === undefined || (await answered);
    } catch (error) {
      this.emit("error", new AltavozError("unauthorized", `no token: ${error}`));
      if (!isLost) this.#link.drop("no token");
      return false;
    } finally {
      stop();
    }
  }

  #connect(token: string | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const accepted = (ok: Incoming): void => {
        this.session = ok.session as string;
        this.#link.settle();
        resolve(true);
      };
      const failed = (error: AltavozError): void => {
        if (error.code !== "connection_lost") this.emit("error", error);
        resolve(false);
      };
      this.#send({ command: { op: "connect", token }, isRepeatable: false, done: accepted, failed });
    });
  }

  #take(sent: Incoming): void {
    if (typeof sent.topic === "string") this.#deliver(readMessage(sent));
    else if ("id" in sent) this.#answer(sent);
    else for (const [name, notice] of Object.entries(sent)) this.#notice(name, notice as Incoming);
  }

  #deliver(message: Message): void {
    for (const feed of this.#routeOf(message.topic)) feed.take(message);
  }

  #routeOf(topic: string): Feed[] {
    let route = this.#routes.get(topic);
    if (!route) {
      route = [...this.#feeds.values()].filter((feed) => matches(feed.filter, topic));
      if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
      this.#routes.set(topic, route);
    }
    return route;
  }

  #answer(sent: Incoming): void {
    const asked = this.#asked.get(sent.id as number);
    this.#asked.delete(sent.id as number);
    const refused = sent.error as { code: string; message: string } | undefined;
    if (!refused) asked?.done(sent.ok as Incoming);
    else {
      const error = new AltavozError(refused.code, refused.message);
      if (asked) asked.failed(error);
      else this.emit("error", error);
    }
  }

  #notice(name: string, notice: Incoming): void {
    const topic = notice?.topic as string | undefined;
    if (topic === undefined) {
      if (name === "expiring" && typeof this.#options.token === "function") void this.#authenticate();
      this.emit("notice", { [name]: notice });
      return;
    }
    // These are a subscription's own; everything else is the topic's.
    const mine = this.#feeds.get(topic);
    const isOwn = name === "mode" || name === "unsubscribed";
    const feeds = isOwn ? (mine ? [mine] : []) : this.#routeOf(topic);
    for (const feed of feeds) {
      if (name === "epoch") feed.learn(topic, notice.epoch as string);
      else if (name === "unsubscribed") feed.end(new AltavozError("forbidden", `${topic}: a new token does not allow it`));
      else feed.tell(name, notice);
    }
  }

  /** Something in between may not let WebSockets through. */
  #needsSse(): boolean {
    const { transport = "auto" } = this.#options;
    const hasFailed = !this.#hasOpened && this.#failures >= 2;
    return transport === "sse" || (transport === "auto" && hasFailed);
  }

  #enter(state: State, detail: string, retryInMs?: number): void {
    if (state === "waiting") this.#failures += 1;
    if (state === "connected" && !this.#needsSse()) this.#hasOpened = true;
    if (state === "waiting" || state === "closed") this.#lose(state === "closed");
    this.emit("state", { state, detail, ...(retryInMs !== undefined && { retryInMs }) });
  }

  /** The connection is gone: what was asked is asked again, or is lost. */
  #lose(isFinal: boolean): void {
    this.#isOpen = false;
    this.session = undefined;
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    const lost = new AltavozError("connection_lost", "the connection was lost before the answer came");
    for (const each of asked) {
      if (each.isRepeatable) this.#ask(each);
      else each.failed(isFinal ? closedError() : lost);
    }
    if (!isFinal) return;
    for (const each of this.#queue.splice(0)) each.failed(closedError());
    for (const feed of [...this.#feeds.values()]) {
      for (const handle of [...feed.handles]) handle.close();
    }
    for (const undo of this.#cleanUp) undo();
  }

  /** What a page knows: whether it is seen, and whether there is a network. */
  #followPage(): void {
    const follow = (target: EventTarget | undefined, name: string, act: () => void): void => {
      target?.addEventListener?.(name, act);
      this.#cleanUp.push(() => target?.removeEventListener?.(name, act));
    };
    follow(globalThis.document, "visibilitychange", () => {
      for (const feed of this.#feeds.values()) feed.sync();
      if (!isHidden()) this.#link.probe();
    });
    follow(globalThis as unknown as EventTarget, "online", () => {
      this.#link.probe();
      this.#link.open();
    });
  }
}

/** Connects to the broker at `url`: `wss://host/ws`, `https://host`, or a path of this page's host. */
export function connect(url: string | URL = "/ws", options: ClientOptions = {}): Client {
  return new Client(url, options);
}

function addressOf(given: string | URL): string {
  const url = new URL(given, globalThis.location?.href);
  url.protocol = url.protocol.replace(/^http/, "ws");
  if (url.pathname === "/") url.pathname = "/ws";
  return url.href;
}

const isHidden = (): boolean => globalThis.document?.hidden === true;

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function closedError(): AltavozError {
  return new AltavozError("closed", "the client was closed");
}
