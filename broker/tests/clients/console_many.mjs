// The console of a broker with a hundred thousand topics: a search among them costs a bounded number
// of requests and rows. Arguments: URL of the broker, folder for screenshots.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openPage, untilConnected, untilText, withChromium } from './chromium.mjs';

const [url, folder] = process.argv.slice(2);
const TOPICS = 100_000;
const BATCH = 10_000;
const PAGE = 25;
/** Requests for one look at the topics: the broker looks at sixteen thousand of them each. */
const REQUESTS_MAX = 8;

for (let from = 0; from < TOPICS; from += BATCH) {
  const batch = Array.from({ length: BATCH }, (_, index) => ({
    topic: `bulk/${String(from + index).padStart(6, '0')}`,
    data: 1,
  }));
  const headers = { 'content-type': 'application/json' };
  const { status } = await fetch(`${url}api/v1/publish`, { method: 'POST', headers, body: JSON.stringify(batch) });
  assert.equal(status, 200);
}

await withChromium(async (browser) => {
  const { page, finish } = await openPage(browser, `${url}console`);
  await untilConnected(page);
  await untilText(page, '#overview', '100,0');
  await page.waitForFunction((PAGE) => document.querySelectorAll('#topics tr').length === PAGE, PAGE);

  const asked = { first: 0, further: 0 };
  page.on('request', (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname === '/api/v1/topics') asked[searchParams.has('after') ? 'further' : 'first'] += 1;
  });
  /** Searches, and waits for what must show; no look at the topics may ask for too much. */
  const search = async (id, text, shown) => {
    const { first } = asked;
    await page.fill(id, text);
    await page.waitForFunction(([shown]) => {
      const rows = [...document.querySelectorAll('#topics td:first-child')].map((cell) => cell.textContent);
      return rows.length === shown.length && rows.every((topic, index) => topic === shown[index]);
    }, [shown]);
    assert.ok(asked.first > first, text);
    assert.ok(asked.further <= asked.first * (REQUESTS_MAX - 1), JSON.stringify(asked));
    assert.ok((await page.locator('#topics tr').count()) <= PAGE);
  };
  const tens = Array.from({ length: 10 }, (_, index) => `bulk/09999${index}`);
  await search('#prefix', 'bulk/09999', tens);
  await search('#prefix', 'bulk/000017', ['bulk/000017']);
  await page.fill('#prefix', '');
  await search('#filter', '+/099999', ['bulk/099999']);
  await page.screenshot({ path: join(folder, 'console-many.png') });
  await search('#filter', 'nowhere', []);
  await untilText(page, '#topics-note', 'No topic is called so.');
  await finish();
});
