// What a reader has to fetch for each page: its own bytes and those of every file that it asks for,
// compressed as a proxy would. Prints the sizes, and fails where one is not what the documentation says.
// Arguments: URL of the broker.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { untilConnected, withChromium } from './chromium.mjs';

const [url] = process.argv.slice(2);
/** What the documentation says of each page, in KiB; a page may be smaller. */
const document = readFileSync(new URL('../../../docs/BENCHMARKS.md', import.meta.url), 'utf8');
const STATED = [...document.matchAll(/^\| `\/([\w/]*)` \| (\d+) \| ([\d.]+) \|$/gm)];
/** By how much of a KiB what is stated may be off. */
const TOLERANCE = 0.5;
const NOT_FILES = /^\/(api\/|metrics$|readyz$)/;

const sizes = {};
await withChromium(async (browser) => {
  for (const [, path] of STATED) {
    const page = await browser.newPage();
    const files = new Map();
    page.on('response', (response) => files.set(new URL(response.url()).pathname, response));
    await page.goto(url + path, { waitUntil: 'load' });
    if (path) await untilConnected(page);
    let [count, bytes] = [0, 0];
    for (const [name, response] of files) {
      if (NOT_FILES.test(name)) continue;
      count += 1;
      bytes += gzipSync(await response.body(), { level: 9 }).length;
    }
    sizes[`/${path}`] = { files: count, bytes };
    await page.close();
  }
});
console.log(JSON.stringify(sizes));
assert.equal(STATED.length, 8, 'every page is in the table');
for (const [, path, files, stated] of STATED) {
  const seen = sizes[`/${path}`];
  const kib = seen.bytes / 1024;
  const text = `/${path} takes ${seen.files} files of ${kib.toFixed(1)} KiB, docs/BENCHMARKS.md says ${files} of ${stated}`;
  assert.ok(seen.files === Number(files) && Math.abs(kib - Number(stated)) <= TOLERANCE, text);
}
