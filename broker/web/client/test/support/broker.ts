// A broker of its own for each test: the binary that BROKER names, on a free port.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { onTestFinished } from "vitest";

const LISTENING = /listening on http:\/\/([\d.]+):(\d+) /;

export interface Broker {
  port: number;
  url: string;
  process: ChildProcess;
  /** Ends it as an operator would, and waits. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export async function startBroker(...settings: string[]): Promise<Broker> {
  const program = process.env.BROKER;
  if (!program) throw new Error("BROKER names no binary");
  const child = spawn(program, ["--listen", "127.0.0.1:0", ...settings], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ALTAVOZ_LOG: "warn" },
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const port = await new Promise<number>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
      const found = LISTENING.exec(said);
      if (found) resolve(Number(found[2]));
    });
    void ended.then(() => reject(new Error(`the broker ended: ${said}`)));
  });
  return {
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    process: child,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      await ended;
    },
  };
}
