// Where no WebSocket gets through: the same by server-sent events and plain requests.

import { expect, test } from "vitest";
import { startBroker } from "./support/broker.ts";
import { layCable } from "./support/cable.ts";
import { collect, next, open, reaches } from "./support/wait.ts";

test("subscribing, publishing and asking work without a WebSocket", async () => {
  const client = open((await startBroker()).url, { transport: "sse" });
  const prices = client.subscribe("ticker/+", { fields: ["price"] });
  const seen = collect(prices);
  await prices.ready();
  expect(await client.publish("ticker/A", { price: 1, symbol: "A" })).toMatchObject({ seq: 1 });
  expect(await seen.until(1)).toEqual([{ topic: "ticker/A", seq: 1, data: { price: 1 } }]);
  const counted = await client.publish("ticker/B", 1, { count: true });
  expect([counted.seq, typeof counted.subscribers]).toEqual([1, "number"]);
  expect((await client.history("ticker/A", 5)).messages).toHaveLength(1);
  expect(await client.ping()).toBeGreaterThan(0);
  await expect(client.publish("$SYS/x", 1)).rejects.toMatchObject({ code: "forbidden" });
  await expect(client.subscribe("a/#/b").ready()).rejects.toMatchObject({ code: "bad_request" });
  await expect(client.stats()).rejects.toMatchObject({ code: "unavailable" });
});

test("what is said arrives in the order in which it was said, and after what was asked before", async () => {
  const client = open((await startBroker()).url, { transport: "sse" });
  const seen = collect(client.subscribe<number>("t"));
  const numbers = Array.from({ length: 30 }, (_, number) => number);
  const answers = await Promise.all(numbers.map((number) => client.publish("t", number)));
  expect(answers.map(({ seq }) => seq - 1)).toEqual(numbers);
  expect((await seen.until(30)).map(({ data }) => data)).toEqual(numbers);
});

test("a pause delivers nothing, and its end what is newest, wherever the subscription began", async () => {
  const client = open((await startBroker()).url, { transport: "sse" });
  const { epoch } = await client.publish("p", 1);
  await client.publish("p", 2);
  const prices = client.subscribe<number>("p", { since: { epoch, seq: 1 } });
  const seen = collect(prices);
  await seen.until(1);
  prices.pause();
  for (const value of [3, 4, 5]) await client.publish("p", value);
  prices.resume();
  await client.publish("p", 6);
  expect((await seen.until(3)).map(({ data }) => data)).toEqual([2, 5, 6]);
});

test("after a cut what was missed comes here, too", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const [client, publisher] = [open(cable.url, { transport: "sse" }), open(broker.url)];
  const orders = client.subscribe<number>("orders/7");
  const seen = collect(orders);
  await orders.ready();
  await publisher.publish("orders/7", 1);
  await seen.until(1);
  cable.cut();
  await reaches(client, "waiting");
  for (const value of [2, 3]) await publisher.publish("orders/7", value);
  const recovered = next(orders, "recovered");
  cable.restore();
  expect(await recovered).toEqual({ recovered: true });
  expect((await seen.until(3)).map(({ data }) => data)).toEqual([1, 2, 3]);
});

test("so does what was missed under a filter, of topics that began after the subscription", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const [client, publisher] = [open(cable.url, { transport: "sse" }), open(broker.url)];
  const orders = client.subscribe<number>("orders/+");
  const seen = collect(orders);
  await orders.ready();
  for (const topic of ["orders/7", "orders/8"]) await publisher.publish(topic, 1);
  await seen.until(2);
  cable.cut();
  await reaches(client, "waiting");
  for (const value of [2, 3]) await publisher.publish("orders/7", value);
  await publisher.publish("orders/9", 4);
  const recovered = next(orders, "recovered");
  cable.restore();
  expect(await recovered).toEqual({ recovered: true });
  const came = (await seen.until(5)).map(({ topic, data }) => `${topic} ${data}`);
  expect(came.slice(0, 2)).toEqual(["orders/7 1", "orders/8 1"]);
  expect(came.slice(2).sort()).toEqual(["orders/7 2", "orders/7 3", "orders/9 4"]);
});

test("a client whose WebSocket never opens turns to it by itself", async () => {
  const broker = await startBroker();
  class Blocked {
    onclose: ((event: { code: number; reason: string }) => void) | null = null;
    constructor() {
      setTimeout(() => this.onclose?.({ code: 1006, reason: "" }), 1);
    }
    send(): void {}
    close(): void {}
  }
  const client = open(broker.url, { WebSocket: Blocked });
  const seen = collect(client.subscribe("t"));
  await client.publish("t", 1);
  await seen.until(1);
});
