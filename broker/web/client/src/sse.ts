// A socket where no WebSocket gets through: commands by plain HTTP, and for each subscription a
// stream of server-sent events. Speaks the JSON protocol to its owner as a WebSocket would; a
// stream that ends ends all of it, and the owner comes back as after any loss.

import type { Incoming } from "./protocol.ts";
import type { Socket } from "./link.ts";

type Sent = { id: number; op: string; topic: string; limit?: number; token?: string; since?: unknown };

/** What `GET /sse` takes besides the topic. */
const PARAMETERS = ["last", "mode", "max_rate", "key", "fields", "deadband", "since", "presence"];

export class SseSocket implements Socket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly #base: string;
  readonly #streams = new Map<string, { sent: Sent; stop: AbortController }>();
  #token: string | undefined;
  #isOver = false;
  /** Done once all is answered that was asked so far, so that requests overtake nothing. */
  #before: Promise<unknown> = Promise.resolve();

  /**
   * @param url the WebSocket's; the broker's other addresses are beside it.
   * @param cursors where each stream was last; they outlive the socket.
   */
  constructor(url: string, private readonly cursors: Map<string, string>) {
    this.#base = new URL("./", url.replace(/^ws/, "http")).href;
    this.#fetch("readyz").then(
      ({ ok }) => (ok ? this.onopen?.({} as never) : this.#end(1006, "not ready")),
      () => this.#end(1006, ""),
    );
  }

  send(text: string): void {
    void this.#carryOut(JSON.parse(text) as Sent);
  }

  close(): void {
    this.#end(1000, "");
  }

  async #carryOut(sent: Sent): Promise<void> {
    const { op, topic, limit } = sent;
    const about = `api/v1/topics/${encodeURIComponent(topic)}/${op}`;
    if (op === "connect") {
      this.#token = sent.token;
      this.#answer(sent, { session: "" });
    } else if (op === "subscribe" || op === "resume") {
      const before = this.#streams.get(topic);
      // What is newest then is what a resume begins with, wherever the subscription began.
      const resumed = { ...before?.sent, ...sent, last: true, since: undefined };
      void this.#stream(op === "resume" ? resumed : sent);
    } else if (op === "unsubscribe" || op === "pause") {
      this.#streams.get(topic)?.stop.abort();
      if (op === "unsubscribe") this.#streams.delete(topic), this.cursors.delete(topic);
      this.#answer(sent, { topic });
    } else if (op === "publish") {
      const { id: _, op: __, ...body } = sent;
      this.#ask(sent, "api/v1/publish", JSON.stringify(body));
    } else if (op === "history" || op === "presence") {
      this.#ask(sent, limit ? `${about}?limit=${limit}` : about);
    } else if (op === "ping") {
      await this.#fetch("healthz").then(() => this.#answer(sent, {}), () => this.#end(1006, ""));
    } else {
      this.#refuse(sent, { code: "unavailable", message: `${op}: not without a WebSocket` });
    }
  }

  #ask(sent: Sent, path: string, body?: string): void {
    this.#before = this.#before.then(() => this.#request(sent, path, body));
  }

  async #request(sent: Sent, path: string, body?: string): Promise<void> {
    try {
      const response = await this.#fetch(path, undefined, body);
      const answer = (await response.json()) as Incoming;
      if (response.ok) this.#answer(sent, answer);
      else this.#refuse(sent, answer.error);
    } catch {
      this.#end(1006, "");
    }
  }

  async #stream(sent: Sent): Promise<void> {
    const { topic } = sent;
    this.#streams.get(topic)?.stop.abort();
    const stop = new AbortController();
    this.#streams.set(topic, { sent, stop });
    let begin = (): void => {};
    this.#before = Promise.all([this.#before, new Promise<void>((resolve) => (begin = resolve))]);
    try {
      const response = await this.#fetch(`sse?${parametersOf(sent, this.cursors.get(topic))}`, stop.signal);
      if (!response.ok) {
        this.#streams.delete(topic);
        this.#refuse(sent, ((await response.json()) as Incoming).error);
        return;
      }
      for await (const { event, cursor } of eventsOf(response.body!)) {
        if (cursor) this.cursors.set(topic, cursor);
        if ("id" in event) this.#tell({ ...event, id: sent.id }), begin();
        else if ("close" in event) {
          const { code, reason } = event.close as { code: number; reason: string };
          this.#end(code, reason);
        } else this.#tell(event);
      }
      this.#end(1006, "the stream ended");
    } catch {
      if (!stop.signal.aborted) this.#end(1006, "the stream broke");
    } finally {
      begin();
    }
  }

  #fetch(path: string, signal?: AbortSignal, body?: string): Promise<Response> {
    const headers: Record<string, string> = {};
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    if (body) headers["content-type"] = "application/json";
    return fetch(this.#base + path, { headers, ...(signal && { signal }), ...(body && { body, method: "POST" }) });
  }

  #answer({ id }: Sent, ok: Incoming): void {
    this.#tell({ id, ok });
  }

  #refuse({ id }: Sent, error: unknown): void {
    this.#tell({ id, error });
  }

  #tell(message: Incoming): void {
    if (!this.#isOver) this.onmessage?.({ data: JSON.stringify(message) } as never);
  }

  #end(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { stop } of this.#streams.values()) stop.abort();
    this.onclose?.({ code, reason } as never);
  }
}

/** Where to go on is told by the stream's own cursor, if there is one: it knows every topic's epoch. */
function parametersOf(sent: Sent, cursor?: string): URLSearchParams {
  const parameters = new URLSearchParams({ topic: sent.topic });
  if (cursor && sent.since) {
    sent = { ...sent, since: undefined };
    parameters.set("last_event_id", cursor);
  }
  for (const name of PARAMETERS) {
    const value = (sent as unknown as Record<string, unknown>)[name];
    if (value === undefined) continue;
    const isPlain = typeof value !== "object" || Array.isArray(value);
    parameters.set(name, isPlain ? String(value) : JSON.stringify(value));
  }
  return parameters;
}

/** The messages of a stream: the JSON in the lines `data:` of an event, and the cursor it may have. */
async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<{ event: Incoming; cursor?: string }> {
  const reader = body.pipeThrough(new TextDecoderStream() as never).getReader() as ReadableStreamDefaultReader<string>;
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      const lines = event.split("\n");
      const field = (name: string): string[] =>
        lines.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length).trim());
      const [data, [cursor]] = [field("data:"), field("id:")];
      if (data.length) yield { event: JSON.parse(data.join("\n")) as Incoming, ...(cursor && { cursor }) };
    }
  }
}
