// @vitest-environment happy-dom
// The hooks, in a document, against the broker itself.

import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, onTestFinished, test, vi } from "vitest";
import { useTopic, useTopics } from "../src/react.ts";
import type { Client } from "../src/index.ts";
import { startBroker } from "./support/broker.ts";
import { open } from "./support/wait.ts";

function Board({ client, topic }: { client: Client; topic: string }) {
  const newest = useTopic<number>(client, topic);
  const all = useTopics<number>(client, "ticker/+", { last: true, mode: "latest" });
  return (
    <p>
      {topic} {newest?.data ?? "–"} of {all.size}
    </p>
  );
}

test("a component shows the newest, and follows another topic when it is told to", async () => {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  const client = open((await startBroker()).url);
  await client.publish("ticker/A", 1);
  await client.publish("ticker/B", 2);
  const place = document.createElement("div");
  const root = createRoot(place);
  onTestFinished(() => act(() => root.unmount()));
  const show = (topic: string) => act(() => root.render(<Board client={client} topic={topic} />));
  const reads = (text: string) =>
    vi.waitFor(async () => {
      await act(() => new Promise((resolve) => setTimeout(resolve, 20)));
      expect(place.textContent).toBe(text);
    }, 5000);

  show("ticker/A");
  expect(place.textContent).toBe("ticker/A – of 0");
  await reads("ticker/A 1 of 2");
  await client.publish("ticker/A", 3);
  await reads("ticker/A 3 of 2");
  show("ticker/B");
  await reads("ticker/B 2 of 2");
  expect((await client.stats()).subscriptions).toBe(2);
});
