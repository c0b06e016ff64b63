// What `subscribe` returns: one program's view of a filter, as events or as an async iterator.

import { AltavozError } from "./error.ts";
import { Emitter } from "./emitter.ts";
import type { Feed } from "./feed.ts";
import type { Gap, Message, Mode, PresenceChange, SubscribeOptions } from "./protocol.ts";

/** What a subscription tells of. */
export interface SubscriptionEvents<T> {
  message: Message<T>;
  /** It is in force, for the first time or again; where the topic stands, without wildcards. */
  subscribed: { epoch?: string; seq?: number } | undefined;
  /** After a break, or with `since`: whether everything that was missed comes now. */
  recovered: { recovered: boolean };
  /** Messages that will not come. */
  gap: Gap;
  /** It is served otherwise from here on, because this client is slow or has caught up. */
  mode: Mode;
  presence: PresenceChange;
  /** A pause is over; what is newest follows. */
  resumed: { skipped: number };
  /** Nothing has come for longer than the broker expects of this topic. */
  stale: { topic: string; seq: number; silent_ms: number };
  /** The topic that was stale goes on. */
  live: { topic: string; seq: number };
  /** An iterator was read too slowly, and its oldest messages were dropped. */
  overflow: { dropped: number };
  /** The broker refused it; it is closed. */
  error: AltavozError;
  closed: undefined;
}

/** Most messages that wait for the reader of an iterator; the oldest make room. */
const WAITING_MAX = 1024;

/** A subscription, until it is closed. */
export class Subscription<T = unknown>
  extends Emitter<SubscriptionEvents<T>>
  implements AsyncIterable<Message<T>>
{
  /** @internal */
  isPaused = false;
  #isClosed = false;
  #isReady = false;
  #error: AltavozError | undefined;

  /** @internal */
  constructor(private readonly feed: Feed) {
    super();
    this.on("subscribed", () => (this.#isReady = true));
  }

  /** The topic or filter. */
  get topic(): string {
    return this.feed.filter;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Comes when the subscription is in force; is rejected if the broker refuses it. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) reject(this.#error ?? closedError());
      else if (this.#isReady) resolve();
      else {
        this.on("subscribed", () => resolve());
        this.on("error", reject);
        this.on("closed", () => reject(closedError()));
      }
    });
  }

  /** Delivers nothing more until it is resumed; nothing is kept in between. */
  pause(): void {
    this.#setPaused(true);
  }

  /** Goes on, with the newest message of each topic that had one. */
  resume(): void {
    this.#setPaused(false);
  }

  /** Other options from here on, for all who share this filter. */
  update(options: SubscribeOptions): void {
    this.feed.change({ ...this.feed.options, ...options });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.feed.leave(this as unknown as Subscription<never>);
    this.emit("closed", undefined);
  }

  /** @internal */
  fail(error: AltavozError): void {
    this.#error = error;
    this.emit("error", error);
    this.close();
  }

  /** @internal */
  tell(name: string, value: unknown): void {
    if (!this.isPaused || name !== "message") this.emit(name as "message", value as Message<T>);
  }

  #setPaused(isPaused: boolean): void {
    if (this.isPaused === isPaused) return;
    this.isPaused = isPaused;
    this.feed.sync();
  }

  /** The messages, one after the other. To leave the loop closes the subscription. */
  [Symbol.asyncIterator](): AsyncIterator<Message<T>, undefined> {
    const waiting: Message<T>[] = [];
    let wake: (() => void) | undefined;
    const stop = this.on("message", (message) => {
      waiting.push(message);
      if (waiting.length > WAITING_MAX) {
        waiting.shift();
        this.emit("overflow", { dropped: 1 });
      }
      wake?.();
    });
    this.on("closed", () => wake?.());
    const done = { done: true, value: undefined } as const;
    return {
      next: async () => {
        while (!waiting.length && !this.#isClosed) {
          await new Promise<void>((resolve) => (wake = resolve));
        }
        const value = waiting.shift();
        if (value) return { done: false, value };
        if (this.#error) throw this.#error;
        return done;
      },
      return: async () => {
        stop();
        this.close();
        return done;
      },
    };
  }
}

function closedError(): AltavozError {
  return new AltavozError("closed", "the subscription was closed");
}
