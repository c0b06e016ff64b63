// What happens when the network, the broker, the page or the token goes away.

import { afterEach, expect, test, vi } from "vitest";
import { startBroker } from "./support/broker.ts";
import { layCable } from "./support/cable.ts";
import { collect, next, open, reaches } from "./support/wait.ts";

afterEach(() => vi.unstubAllGlobals());

test("after a cut everything that was missed comes, without a hole and without a repeat", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const [client, publisher] = [open(cable.url), open(broker.url)];
  const orders = client.subscribe<number>("orders/7");
  const seen = collect(orders);
  await orders.ready();
  for (let round = 0; round < 3; round += 1) {
    await publisher.publish("orders/7", "before");
    await seen.until(round * 6 + 1);
    cable.cut();
    await reaches(client, "waiting");
    for (let value = 0; value < 5; value += 1) await publisher.publish("orders/7", value);
    const recovered = next(orders, "recovered");
    cable.restore();
    expect(await recovered).toEqual({ recovered: true });
    await seen.until(round * 6 + 6);
  }
  expect(seen.messages.map(({ seq }) => seq)).toEqual(Array.from({ length: 18 }, (_, at) => at + 1));
});

test("under a filter, too, also of topics that began meanwhile", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const [client, publisher] = [open(cable.url), open(broker.url)];
  await publisher.publish("orders/old", 1);
  const orders = client.subscribe<number>("orders/+");
  const seen = collect(orders);
  await orders.ready();
  for (const topic of ["old", "new", "new"]) await publisher.publish(`orders/${topic}`, 2);
  await seen.until(3);
  for (let round = 1; round <= 2; round += 1) {
    cable.cut();
    await reaches(client, "waiting");
    for (const topic of ["old", "new", `newer${round}`]) await publisher.publish(`orders/${topic}`, 3);
    const recovered = next(orders, "recovered");
    cable.restore();
    expect(await recovered).toEqual({ recovered: true });
    await seen.until(3 + 3 * round);
  }
  const seqs = (name: string) =>
    seen.messages.filter(({ topic }) => topic === `orders/${name}`).map(({ seq }) => seq);
  expect(["old", "new", "newer1", "newer2"].map(seqs)).toEqual([[2, 3, 4], [1, 2, 3, 4], [1], [1]]);
});

test("what is no longer kept is told as a gap", async () => {
  const broker = await startBroker("--history-messages", "2");
  const cable = await layCable(broker.port);
  const [client, publisher] = [open(cable.url), open(broker.url)];
  const orders = client.subscribe("orders/7");
  const seen = collect(orders);
  await orders.ready();
  await publisher.publish("orders/7", 1);
  await seen.until(1);
  cable.cut();
  await reaches(client, "waiting");
  for (const value of [2, 3, 4, 5]) await publisher.publish("orders/7", value);
  const told = Promise.all([next(orders, "gap"), next(orders, "recovered")]);
  cable.restore();
  const [gap, recovered] = await told;
  expect(gap).toMatchObject({ topic: "orders/7", from: 2, to: 3, reason: "expired" });
  expect(recovered).toEqual({ recovered: false });
  expect((await seen.until(3)).map(({ data }) => data)).toEqual([1, 4, 5]);
});

test("with latest, a cut ends with the newest of every topic", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const [client, publisher] = [open(cable.url), open(broker.url)];
  const prices = client.subscribe<number>("ticker/+", { mode: "latest", last: true });
  const newest = new Map<string, number>();
  prices.on("message", ({ topic, data }) => newest.set(topic, data));
  await prices.ready();
  cable.cut();
  await reaches(client, "waiting");
  for (const value of [1, 2, 3]) {
    await publisher.publish("ticker/A", value);
    await publisher.publish("ticker/B", 10 * value);
  }
  cable.restore();
  await vi.waitUntil(() => newest.size === 2);
  expect(Object.fromEntries(newest)).toEqual({ "ticker/A": 3, "ticker/B": 30 });
});

test("a broker that was started anew is told as one that forgot", async () => {
  const first = await startBroker();
  const cable = await layCable(first.port);
  const client = open(cable.url);
  const orders = client.subscribe<number>("orders/7");
  const seen = collect(orders);
  await orders.ready();
  await client.publish("orders/7", 1);
  await seen.until(1);
  const second = await startBroker();
  cable.restore(second.port);
  const recovered = next(orders, "recovered");
  await first.stop("SIGKILL");
  expect(await recovered).toEqual({ recovered: false });
  await client.publish("orders/7", 2);
  expect((await seen.until(2)).map(({ seq, data }) => [seq, data])).toEqual([[1, 1], [1, 2]]);
});

test("a broker that stops says when to come back, and is obeyed", async () => {
  const broker = await startBroker("--reconnect-spread-ms", "5000");
  const client = open(broker.url);
  await client.ping();
  const told = new Promise<{ detail: string; retryInMs?: number }>((resolve) => {
    client.on("state", (event) => event.state === "waiting" && resolve(event));
  });
  void broker.stop();
  const { detail, retryInMs } = await told;
  const asked = /^1001: reconnect in (\d+) ms$/.exec(detail)?.[1];
  expect(retryInMs).toBe(Number(asked));
});

test("a publish whose answer was lost is rejected, a question is asked again", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const client = open(cable.url);
  await client.ping();
  const published = client.publish("t", 1);
  const stats = client.stats();
  cable.cut();
  await expect(published).rejects.toMatchObject({ code: "connection_lost" });
  cable.restore();
  expect(await stats).toMatchObject({ matched: 0 });
});

test("what was given up is not sent when the connection is back", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const client = open(cable.url, { timeoutMs: 500 });
  await client.ping();
  const published = client.publish("t", 1, { msgId: "a" });
  cable.cut();
  await expect(published).rejects.toMatchObject({ code: "timeout" });
  cable.restore();
  await reaches(client, "connected");
  expect((await client.publish("t", 2)).seq).toBe(1);
});

test("what is to be asked again counts among what waits for a connection", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  const client = open(cable.url, { queueMax: 2 });
  await client.ping();
  const asked = [1, 2, 3].map(() => client.stats());
  cable.cut();
  await expect(asked[2]).rejects.toMatchObject({ code: "queue_full" });
  cable.restore();
  expect(await Promise.all(asked.slice(0, 2))).toHaveLength(2);
});

test("a side that has fallen silent is given up", async () => {
  const broker = await startBroker();
  const client = open(broker.url, { silenceMs: 200 });
  const orders = client.subscribe<string>("orders/7");
  const seen = collect(orders);
  await orders.ready();
  broker.process.kill("SIGSTOP");
  await reaches(client, "waiting");
  broker.process.kill("SIGCONT");
  await reaches(client, "connected");
  await client.publish("orders/7", "back");
  expect((await seen.until(1))[0]?.data).toBe("back");
});

test("a page that is hidden is sent nothing, and what is newest when it is seen again", async () => {
  const page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal("document", page);
  const turn = (hidden: boolean): void => {
    page.hidden = hidden;
    page.dispatchEvent(new Event("visibilitychange"));
  };
  const broker = await startBroker();
  const [client, publisher] = [open(broker.url), open(broker.url)];
  const prices = client.subscribe<number>("p", { mode: "latest" });
  const chat = client.subscribe<number>("chat");
  const [seenPrices, seenChat] = [collect(prices), collect(chat)];
  await Promise.all([prices.ready(), chat.ready()]);
  turn(true);
  await client.ping();
  for (const value of [1, 2, 3]) {
    await publisher.publish("p", value);
    await publisher.publish("chat", value);
  }
  await seenChat.until(3);
  const resumed = next(prices, "resumed");
  turn(false);
  expect(await resumed).toEqual({ skipped: 3 });
  expect((await seenPrices.until(1)).map(({ data }) => data)).toEqual([3]);
});

test("every connection asks for a token of its own", async () => {
  const broker = await startBroker();
  const cable = await layCable(broker.port);
  let asked = 0;
  const client = open(cable.url, { token: async () => `token-${(asked += 1)}` });
  await client.ping();
  cable.cut();
  await reaches(client, "waiting");
  cable.restore();
  await reaches(client, "connected");
  await client.ping();
  expect(asked).toBe(2);
});
