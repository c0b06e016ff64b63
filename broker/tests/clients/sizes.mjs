// What a reader has to fetch for each page: its own bytes and those of every file that it asks for,
// compressed as a proxy would. Prints the sizes, and fails where one is over its limit.
// Arguments: URL of the broker.

import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { untilConnected, withChromium } from './chromium.mjs';

const [url] = process.argv.slice(2);
/** Most bytes of a page, compressed. Half of that is uPlot where there is a chart. */
const LIMITS = {
  '': 5 * 1024,
  live: 32 * 1024,
  console: 44 * 1024,
  'demo/board': 17 * 1024,
  'demo/chat': 17 * 1024,
  'demo/machine': 40 * 1024,
  'demo/notices': 17 * 1024,
  'demo/ticker': 44 * 1024,
};
const NOT_FILES = /^\/(api\/|metrics$|readyz$)/;

const sizes = {};
await withChromium(async (browser) => {
  for (const path of Object.keys(LIMITS)) {
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
for (const [path, limit] of Object.entries(LIMITS)) {
  const { bytes } = sizes[`/${path}`];
  assert.ok(bytes <= limit, `/${path} takes ${bytes} bytes, which is more than ${limit}`);
}
