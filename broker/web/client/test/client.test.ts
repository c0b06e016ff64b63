// Subscribing, publishing and asking, against the broker itself.

import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { AltavozError, connect } from "../src/index.ts";
import { startBroker } from "./support/broker.ts";
import { collect, next, open } from "./support/wait.ts";

test("a publish is told its place, and reaches who is subscribed", async () => {
  const client = open((await startBroker()).url);
  const prices = client.subscribe<{ price: number }>("ticker/ACME");
  const seen = collect(prices);
  await prices.ready();
  const placed = await client.publish("ticker/ACME", { price: 101.5 });
  expect(placed).toMatchObject({ seq: 1, level: "accepted" });
  expect(await seen.until(1)).toEqual([{ topic: "ticker/ACME", seq: 1, data: { price: 101.5 } }]);
  expect((await client.publish("ticker/ACME", 2, { count: true })).subscribers).toBe(1);
  expect(await client.stats("ticker/ACME")).toMatchObject({ topic: "ticker/ACME", matched: 2 });
});

test("a publish with a name is published once, whoever sends it again", async () => {
  const { url } = await startBroker();
  const [client, other] = [open(url), open(url)];
  const seen = collect(client.subscribe("orders/7"));
  const first = await client.publish("orders/7", "placed", { msgId: "a" });
  expect(await other.publish("orders/7", "placed", { msgId: "a" })).toEqual(first);
  expect((await other.publish("orders/7", "paid", { msgId: "b", count: true })).subscribers).toBe(1);
  expect((await seen.until(2)).map(({ data }) => data)).toEqual(["placed", "paid"]);
  await expect(client.publish("orders/7", 1, { msgId: "" })).rejects.toMatchObject({ code: "bad_request" });
});

test("what is asked before the connection stands waits for it", async () => {
  const client = open((await startBroker()).url);
  expect(client.state).toBe("connecting");
  const { seq } = await client.publish("early", 1);
  expect(seq).toBe(1);
  expect(client.session).toMatch(/^[0-9a-f]{16}$/);
  expect(await client.ping()).toBeGreaterThan(0);
});

test("an iterator gives the messages in order, and leaving it closes the subscription", async () => {
  const client = open((await startBroker()).url);
  const log = client.subscribe<number>("log/+");
  const reading = (async () => {
    const read: number[] = [];
    for await (const { data } of log) if (read.push(data) === 3) break;
    return read;
  })();
  await log.ready();
  for (const value of [1, 2, 3]) await client.publish("log/a", value);
  expect(await reading).toEqual([1, 2, 3]);
  expect(log.isClosed).toBe(true);
  expect((await client.stats()).subscriptions).toBe(0);
});

test("bytes arrive as bytes", async () => {
  const client = open((await startBroker()).url);
  const seen = collect(client.subscribe("camera"));
  await client.publish("camera", Uint8Array.of(0, 255, 127));
  expect((await seen.until(1))[0]).toMatchObject({ data: null, bytes: Uint8Array.of(0, 255, 127) });
});

test("the options of a subscription are the broker's", async () => {
  const client = open((await startBroker()).url);
  const sensor = client.subscribe("sensor/1", {
    fields: ["celsius"],
    deadband: { field: "celsius", abs: 5, maxSilenceMs: 60_000 },
  });
  const seen = collect(sensor);
  await sensor.ready();
  for (const celsius of [20, 21, 30]) await client.publish("sensor/1", { celsius, room: "a" });
  expect((await seen.until(2)).map(({ data }) => data)).toEqual([{ celsius: 20 }, { celsius: 30 }]);
  expect(await client.stats()).toMatchObject({ filtered: 1, sent: 2 });
  sensor.update({ deadband: { field: "celsius", abs: 1 } });
  await client.publish("sensor/1", { celsius: 31 });
  await seen.until(3);
});

test("two who ask for the same share one subscription of the broker", async () => {
  const client = open((await startBroker()).url);
  const first = client.subscribe("room/1", { last: true });
  const seenByFirst = collect(first);
  await first.ready();
  await client.publish("room/1", "hello");
  await seenByFirst.until(1);
  const second = client.subscribe("room/1", { last: true });
  const seenBySecond = collect(second);
  expect((await seenBySecond.until(1))[0]?.data).toBe("hello");
  expect((await client.stats()).subscriptions).toBe(1);
  first.close();
  await client.publish("room/1", "again");
  await seenBySecond.until(2);
  expect(seenByFirst.messages).toHaveLength(1);
  expect(() => client.subscribe("room/1", { mode: "latest" })).toThrow("other options");
});

test("a message goes to every subscription whose filter matches, once", async () => {
  const client = open((await startBroker()).url);
  const all = collect(client.subscribe("a/#"));
  const one = client.subscribe("a/b");
  const seen = collect(one);
  await one.ready();
  await client.publish("a/b", 1);
  await client.publish("a/c", 2);
  expect((await all.until(2)).map(({ data }) => data)).toEqual([1, 2]);
  expect(seen.messages.map(({ data }) => data)).toEqual([1]);
});

test("a pause delivers nothing, and its end what is newest", async () => {
  const client = open((await startBroker()).url);
  const prices = client.subscribe("p");
  const seen = collect(prices);
  await prices.ready();
  prices.pause();
  for (const value of [1, 2, 3]) await client.publish("p", value);
  const resumed = next(prices, "resumed");
  prices.resume();
  expect(await resumed).toEqual({ skipped: 3 });
  expect((await seen.until(1)).map(({ data }) => data)).toEqual([3]);
});

test("history and presence tell what is kept and who is there", async () => {
  const broker = await startBroker("--presence", "members");
  const client = open(broker.url);
  for (const value of [1, 2, 3]) await client.publish("orders/7", value);
  const { messages, seq } = await client.history<number>("orders/7", 2);
  expect(seq).toBe(3);
  expect(messages.map(({ topic, data }) => [topic, data])).toEqual([["orders/7", 2], ["orders/7", 3]]);

  const room = client.subscribe("room/5", { presence: true });
  await room.ready();
  const joined = next(room, "presence");
  const other = open(broker.url);
  await other.subscribe("room/5").ready();
  expect(await joined).toMatchObject({ topic: "room/5", join: { session: other.session } });
  expect(await client.presence("room/5")).toMatchObject({ count: 2 });
});

test("what the broker refuses is an error with its code", async () => {
  const client = open((await startBroker()).url);
  await expect(client.publish("$SYS/x", 1)).rejects.toMatchObject({ code: "forbidden" });
  const wrong = client.subscribe("a/#/b");
  await expect(wrong.ready()).rejects.toMatchObject({ code: "bad_topic", name: "AltavozError" });
  expect(wrong.isClosed).toBe(true);
  await expect((async () => {
    for await (const _ of client.subscribe("a+")) void _;
  })()).rejects.toBeInstanceOf(AltavozError);
});

test("a closed client refuses everything", async () => {
  const client = open((await startBroker()).url);
  const log = client.subscribe("log");
  await log.ready();
  client.close();
  expect(log.isClosed).toBe(true);
  await expect(client.publish("log", 1)).rejects.toMatchObject({ code: "closed" });
});

test("without a WebSocket it says what to do", () => {
  const states: string[] = [];
  const client = connect("ws://127.0.0.1:1/ws", { WebSocket: undefined as never });
  client.on("state", ({ state, detail }) => states.push(`${state} ${detail}`));
  if (globalThis.WebSocket) client.close();
  else expect(client.state).toBe("closed");
  expect(new WebSocket("ws://127.0.0.1:1/").on("error", () => {})).toBeDefined();
});
