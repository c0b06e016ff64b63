// Builds the package: node build.mjs OUT. Needs esbuild and TypeScript in NODE_TOOLS, or installed
// beside it. Prints the sizes as one line of JSON.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const tools = process.env.NODE_TOOLS ?? here;
const require = createRequire(`${tools}/`);
const esbuild = require("esbuild");
const out = resolve(process.argv[2] ?? join(here, "dist"));

await esbuild.build({
  absWorkingDir: here,
  entryPoints: { altavoz: "src/index.ts", react: "src/react.ts" },
  outdir: out,
  bundle: true,
  external: ["react"],
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  banner: { js: "// altavoz 0.1.0, MIT OR Apache-2.0; made from src/ by build.mjs" },
});
// The types of React are among the tools, so TypeScript is told where.
const project = mkdtempSync(join(tmpdir(), "altavoz-"));
const react = dirname(require.resolve("@types/react/package.json"));
const config = {
  extends: join(here, "tsconfig.json"),
  compilerOptions: { paths: { react: [react] }, rootDir: join(here, "src"), outDir: join(out, "types") },
  include: [join(here, "src")],
};
writeFileSync(join(project, "tsconfig.json"), JSON.stringify(config));
const tsc = join(dirname(require.resolve("typescript/package.json")), "bin/tsc");
try {
  execFileSync(process.execPath, [tsc, "--project", project], { stdio: ["ignore", 2, 2] });
} finally {
  rmSync(project, { recursive: true });
}
const size = (file) => gzipSync(readFileSync(join(out, file)), { level: 9 }).length;
console.log(JSON.stringify({ altavoz: size("altavoz.js"), react: size("react.js") }));
