// Each test starts brokers of its own; a file is not begun before the one before it has ended, for
// the machine may be small.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/**/*.test.{ts,tsx}"], fileParallelism: false, testTimeout: 20_000 },
});
