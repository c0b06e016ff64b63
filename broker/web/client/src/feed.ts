// What the broker knows as one subscription: a filter with its options, shared by all who asked for
// the same. Subscribes again after a break from where it was, and knows what it has seen for that.

import { isWild } from "./filter.ts";
import { spell } from "./protocol.ts";
import type { Command, Incoming, Message, Position, SubscribeOptions } from "./protocol.ts";
import type { AltavozError } from "./error.ts";
import type { Subscription } from "./subscription.ts";

/** What a feed asks the connection for. */
export interface Line {
  isOpen(): boolean;
  ask(command: Command, done: (ok: Incoming) => void, failed: (error: AltavozError) => void): void;
  isHidden(): boolean;
  forget(feed: Feed): void;
}

/** A command is at most 64 KiB; positions get what room they need of this much of it. */
const POSITIONS_BYTES_MAX = 48 * 1024;

export class Feed {
  readonly handles = new Set<Subscription<never>>();
  readonly isWild: boolean;
  /** The newest message seen of each topic, in the order of their coming, oldest first. */
  #positions = new Map<string, Position>();
  #newest = new Map<string, Message>();
  #epochs = new Map<string, string>();
  #epoch: string | undefined;
  #wasOn = false;
  #isOn = false;
  #isPaused = false;

  constructor(
    readonly filter: string,
    public options: SubscribeOptions,
    private readonly line: Line,
  ) {
    this.isWild = isWild(filter);
  }

  get isLatest(): boolean {
    return this.options.mode === "latest";
  }

  /** A subscriber more; it gets what those before it got first. */
  join(handle: Subscription<never>): void {
    this.handles.add(handle);
    if (this.handles.size === 1) return this.sync();
    if (this.#isOn) handle.emit("subscribed", undefined);
    if (this.options.key && this.options.last && this.line.isOpen()) this.#subscribe();
    else for (const message of this.#newest.values()) handle.emit("message", message as never);
    this.sync();
  }

  leave(handle: Subscription<never>): void {
    this.handles.delete(handle);
    if (this.handles.size) return this.sync();
    if (this.#isOn && this.line.isOpen()) {
      this.line.ask({ op: "unsubscribe", topic: this.filter }, ignore, ignore);
    }
    this.line.forget(this);
  }

  /** Other options from here on. */
  change(options: SubscribeOptions): void {
    this.options = options;
    if (this.#isOn) this.#subscribe();
  }

  /** The connection is open anew. */
  open(): void {
    this.#isOn = false;
    this.#isPaused = false;
    this.sync();
  }

  /** Brings the broker's view of it in line with ours: on, paused, or not at all. */
  sync(): void {
    if (!this.line.isOpen() || !this.handles.size) return;
    const shallPause = this.#shallPause();
    if (!this.#isOn) {
      // After a break a paused feed stays away: what it is to see first is what is newest then.
      if (shallPause) this.#positions.clear();
      else this.#subscribe();
    } else if (shallPause !== this.#isPaused) {
      this.#isPaused = shallPause;
      const op = shallPause ? "pause" : "resume";
      this.line.ask({ op, topic: this.filter }, (ok) => this.#resumed(ok), (e) => this.#failed(e));
    }
  }

  #shallPause(): boolean {
    const whenHidden = this.options.whenHidden ?? (this.isLatest ? "pause" : "keep");
    if (whenHidden === "pause" && this.line.isHidden()) return true;
    return [...this.handles].every((handle) => handle.isPaused);
  }

  #resumed(ok: Incoming): void {
    if (typeof ok.skipped === "number") this.tell("resumed", { skipped: ok.skipped });
  }

  #subscribe(): void {
    this.#isOn = true;
    this.#isPaused = false;
    const options = { ...this.options };
    const from = this.#wasOn && !this.isLatest ? this.#since() : undefined;
    if (from) {
      options.since = from.since;
      delete options.last;
    } else if (this.#wasOn) {
      // What was missed can't be told, so what is newest shall show it.
      options.last = true;
      delete options.since;
    }
    const wasAway = this.#wasOn;
    // Positions under a filter need the epochs of topics that begin later.
    const epochs = this.isWild && !this.isLatest ? { epochs: true } : {};
    this.line.ask(
      { op: "subscribe", topic: this.filter, ...spell(options), ...epochs },
      (ok) => this.#subscribed(ok, options, wasAway, from?.isWhole ?? false),
      (error) => this.#failed(error),
    );
  }

  #subscribed(ok: Incoming, asked: SubscribeOptions, wasAway: boolean, isWhole: boolean): void {
    const epoch = ok.epoch as string | undefined;
    const seq = ok.seq as number | undefined;
    const before = this.#positions.get(this.filter);
    // A topic that stands before what was seen of it has begun anew as well.
    const isOtherEpoch = epoch !== this.#epoch || (seq ?? 0) < (before?.seq ?? 0);
    if (epoch !== undefined && seq !== undefined && (isOtherEpoch || !asked.since)) {
      const begins = asked.since ? 0 : Math.max(0, asked.last ? seq - 1 : seq);
      const given = asked.since as Position | undefined;
      const isGiven = !wasAway && given?.epoch === epoch;
      this.#positions.set(this.filter, { epoch, seq: isGiven ? given.seq : begins });
    }
    if (this.isWild) {
      // The answer's epoch is good for every topic that has begun by now.
      this.#epochs.clear();
      if (!ok.recovered) this.#positions.clear();
    }
    this.#epoch = epoch;
    this.#wasOn = true;
    this.tell("subscribed", { epoch, seq });
    const cameBack = wasAway || asked.since !== undefined;
    if (cameBack && !this.isLatest) {
      this.tell("recovered", { recovered: ok.recovered === true && (isWhole || !wasAway) });
    }
  }

  #failed(error: AltavozError): void {
    if (error.code !== "connection_lost") this.end(error);
  }

  /** The broker has ended it, or never began it. */
  end(error: AltavozError): void {
    this.#isOn = false;
    for (const handle of [...this.handles]) handle.fail(error);
  }

  /** Where it was, as far as it fits a command; nothing if it has seen nothing. */
  #since(): { since: Position | Record<string, Position>; isWhole: boolean } | undefined {
    if (!this.isWild) {
      const position = this.#positions.get(this.filter);
      return position && { since: position, isWhole: true };
    }
    let room = POSITIONS_BYTES_MAX;
    const since: Record<string, Position> = {};
    const newestFirst = [...this.#positions].reverse();
    for (const [topic, position] of newestFirst) {
      room -= 3 * topic.length + 60;
      if (room < 0) return { since, isWhole: false };
      since[topic] = position;
    }
    return newestFirst.length ? { since, isWhole: true } : undefined;
  }

  /** The epoch of a topic that has begun under a filter with wildcards. */
  learn(topic: string, epoch: string): void {
    this.#epochs.set(topic, epoch);
  }

  /** A message that the filter matches. */
  take(message: Message): void {
    if (this.#isPaused || !this.#isOn) return;
    const { topic, seq } = message;
    const epoch = this.#epochs.get(topic) ?? this.#epoch;
    const before = this.#positions.get(topic);
    if (epoch !== undefined) {
      const isSeen = before?.epoch === epoch && seq <= before.seq;
      if (isSeen && !this.isLatest && !this.options.key) return;
      this.#positions.delete(topic);
      this.#positions.set(topic, { epoch, seq });
    }
    if (this.options.last) this.#newest.set(topic, message);
    this.tell("message", message);
  }

  tell(name: string, value: unknown): void {
    for (const handle of [...this.handles]) handle.tell(name, value);
  }
}

function ignore(): void {}
