// Clients that are closed with their test, and waiting for what comes.

import { onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { Client, connect } from "../../src/index.ts";
import type { ClientOptions, Message, Subscription, SubscriptionEvents } from "../../src/index.ts";

/** A client with short pauses, so that tests are quick. */
export function open(url: string, options: ClientOptions = {}): Client {
  const times = { backoffFirstMs: 20, backoffMaxMs: 100 };
  const client = connect(url, { WebSocket, ...times, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Everything that comes, and a way to wait for so many of it. */
export function collect<T>(subscription: Subscription<T>): {
  messages: Message<T>[];
  until(count: number): Promise<Message<T>[]>;
} {
  const messages: Message<T>[] = [];
  subscription.on("message", (message) => messages.push(message));
  return {
    messages,
    async until(count) {
      while (messages.length < count) await next(subscription, "message");
      return messages;
    },
  };
}

/** The next event of this name. */
export function next<T, N extends keyof SubscriptionEvents<T>>(
  subscription: Subscription<T>,
  name: N,
): Promise<SubscriptionEvents<T>[N]> {
  return new Promise((resolve) => {
    const stop = subscription.on(name, (value) => {
      stop();
      resolve(value);
    });
  });
}

/** Until the client is in this state. */
export function reaches(client: Client, wanted: Client["state"]): Promise<void> {
  if (client.state === wanted) return Promise.resolve();
  return new Promise((resolve) => {
    const stop = client.on("state", ({ state }) => {
      if (state !== wanted) return;
      stop();
      resolve();
    });
  });
}
