// A cable between a client and a broker that can be pulled out: a TCP proxy. While it is cut, what
// was connected is dead without a goodbye, and nobody new gets through.

import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface Cable {
  url: string;
  cut(): void;
  restore(toPort?: number): void;
}

export async function layCable(toPort: number): Promise<Cable> {
  let isCut = false;
  const ends = new Set<Socket>();
  const server = createServer((near) => {
    if (isCut) {
      near.destroy();
      return;
    }
    const far = connect(toPort, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]] as const) {
      ends.add(one);
      one.setNoDelay();
      one.pipe(other);
      one.on("error", () => {});
      one.on("close", () => {
        ends.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const pull = (): void => ends.forEach((end) => end.destroy());
  onTestFinished(() => {
    pull();
    server.close();
  });
  const address = server.address();
  if (!address || typeof address === "string") throw new Error("it listens on a port");
  return {
    url: `ws://127.0.0.1:${address.port}/ws`,
    cut() {
      isCut = true;
      pull();
    },
    restore(port = toPort) {
      toPort = port;
      isCut = false;
    },
  };
}
