// Tokens: shown with every connection, renewed before they end, and asked for anew when they did.

import { expect, test } from "vitest";
import { startBroker } from "./support/broker.ts";
import { secretSetting, sign } from "./support/token.ts";
import { collect, next, open, reaches } from "./support/wait.ts";

test("a token is renewed when the broker says that it ends, and the session goes on", async () => {
  const broker = await startBroker(...secretSetting(), "--token-warning-ms", "3600000");
  let asked = 0;
  const client = open(broker.url, { token: () => sign((asked += 1) === 1 ? 60 : 7200) });
  const told = new Promise((resolve) => client.on("notice", resolve));
  const orders = client.subscribe("orders/7");
  await orders.ready();
  const { session } = client;
  expect(await told).toMatchObject({ expiring: { in_ms: expect.any(Number) } });
  await client.ping();
  await client.ping();
  expect([asked, client.session]).toEqual([2, session]);
});

test("a token that is refused ends it, unless there is a way to another", async () => {
  const broker = await startBroker(...secretSetting());
  const refused = open(broker.url, { token: "no.token.this" });
  await reaches(refused, "closed");
  let asked = 0;
  const client = open(broker.url, { token: () => ((asked += 1) < 3 ? "no.token.this" : sign(60)) });
  const seen = collect(client.subscribe("t"));
  await client.publish("t", 1);
  await seen.until(1);
  expect(asked).toBe(3);
});

test("what a token does not allow is refused, and what a new one does not allow ends", async () => {
  const broker = await startBroker(...secretSetting(), "--token-warning-ms", "3600000");
  let asked = 0;
  const token = () => ((asked += 1) === 1 ? sign(60, ["a", "b"]) : sign(7200, ["a"]));
  const client = open(broker.url, { token });
  const [a, b] = [client.subscribe("a"), client.subscribe("b")];
  const ended = next(b, "error");
  await a.ready();
  await expect(client.subscribe("c").ready()).rejects.toMatchObject({ code: "forbidden" });
  expect(await ended).toMatchObject({ code: "forbidden" });
  expect([a.isClosed, b.isClosed]).toEqual([false, true]);
});
