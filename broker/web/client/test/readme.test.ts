// Every example of the README runs as it stands there, against a fresh broker, and prints what the
// README says it prints.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { startBroker } from "./support/broker.ts";

const here = join(import.meta.dirname, "..");
const readme = await readFile(join(here, "README.md"), "utf8");
const examples = [...readme.matchAll(/```js\n([^]*?)```\n\nprints\n\n```text\n([^]*?)```/g)];

test("the README has examples", () => {
  expect(examples.length).toBeGreaterThanOrEqual(5);
  expect(readme.match(/```js\n/g)).toHaveLength(examples.length);
});

test.each(examples.map(([, code, output]) => [code!.split("\n")[0], code!, output!]))(
  "the example that begins with %s",
  async (_, code, output) => {
    const { url } = await startBroker("--presence", "members");
    const folder = await mkdtemp(join(here, "example-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, "example.mjs"), code.replaceAll("ws://localhost:8080/ws", url));
    // Node 20 has no WebSocket of its own; in a browser nothing of this is needed.
    await writeFile(
      join(folder, "before.mjs"),
      'import { WebSocket } from "ws";\nglobalThis.WebSocket = WebSocket;\n',
    );
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, ["--import", "./before.mjs", "example.mjs"], {
      cwd: folder,
      timeout: 15_000,
    });
    expect(stdout).toBe(output);
  },
);
