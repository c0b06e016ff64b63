// Uses the console as an operator would. Arguments: URL of the broker, folder for screenshots, and
// a key where the broker asks for one.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { barriers, openPage, untilConnected, untilText, withChromium } from './chromium.mjs';

const [url, folder, key] = process.argv.slice(2);
const KINDS = {
  light: {},
  dark: { colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
};

const rowsOf = (page, table) => page.locator(`#${table} tr`);
const untilRows = (page, table, least) =>
  page.waitForFunction(([table, least]) => document.querySelectorAll(`#${table} tr`).length >= least, [table, least]);

/** One who is slow shows with the step of the ladder it stands on, and those who keep up do not. */
async function seeSlowOnes(page, browser) {
  const other = await openPage(browser, `${url}demo/notices`);
  await untilConnected(other.page);
  await page.check('#slow-only');
  await untilText(page, '#connections-note', 'Everybody keeps up.');
  await other.page.click('#slow');
  await untilText(page, '#connections .step', 'the latest');
  assert.equal(await page.locator('[aria-sort=descending]').innerText(), 'Behind');
  await page.click('#connections-head button:has-text("Waiting")');
  await page.waitForSelector('[aria-sort=descending]:has-text("Waiting")');
  assert.deepEqual(await barriers(page), []);
  await page.screenshot({ path: join(folder, 'console-slow.png') });
  await other.finish();
}

await withChromium(async (browser) => {
  if (key) {
    // Without its key it shows what it was told, and with it everything.
    const { page } = await openPage(browser, `${url}console`);
    await untilText(page, '#connections-note', 'is missing');
    await untilText(page, '#settings-note', 'is missing');
    await page.fill('#key', key);
    await page.click('#access button');
    await untilRows(page, 'topics', 5);
    await untilRows(page, 'settings', 40);
    await untilText(page, '#settings', 'api_key');
    assert.doesNotMatch(await page.locator('#settings').innerText(), /[0-9a-f]{64}/, 'a digest shows');
    await page.close();
    return;
  }
  for (const [kind, options] of Object.entries(KINDS)) {
    const { page, finish } = await openPage(browser, `${url}console`, options);
    await untilConnected(page);
    await untilRows(page, 'topics', 5);
    await untilRows(page, 'connections', 1);
    await untilRows(page, 'workers', 1);
    await untilRows(page, 'settings', 40);
    await untilText(page, '#cluster', 'This node stands alone');
    await page.waitForFunction(() => document.querySelector('#topics .value')?.title);
    await page.waitForFunction(() => /^[1-9]/.test(document.querySelector('#overview dd').textContent));
    assert.deepEqual(await barriers(page), [], kind);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${kind}: ${overflow} pixels too wide`);
    await page.screenshot({ path: join(folder, `console-${kind}.png`) });
    await finish();
  }

  const { page, complaints, finish } = await openPage(browser, `${url}console`);
  await untilConnected(page);
  await page.fill('#prefix', 'demo/board/');
  await page.waitForFunction(() => document.querySelectorAll('#topics tr').length === 1);
  await page.fill('#prefix', '');
  await page.fill('#filter', 'demo/ticker/AL+');
  await page.waitForFunction(() => document.querySelector('#topics-note').textContent !== '');
  // The browser complains of the refused request, too; the page is not to blame.
  complaints.length = 0;
  await page.fill('#filter', 'demo/ticker/+');
  await page.waitForFunction(() => document.querySelector('#topics button')?.textContent.startsWith('demo/ticker/'));
  await page.waitForFunction(() => Number(document.querySelector('#topics td:nth-child(2)')?.textContent) > 0);
  await page.waitForSelector('#topics .spark');
  await untilText(page, '#topics .value', '"price"');
  const first = await rowsOf(page, 'topics').first().innerText();
  await page.click('#topics-next');
  await page.waitForFunction((first) => document.querySelector('#topics tr')?.innerText.split('\t')[0] !== first.split('\t')[0], first);

  await page.click('#topics-before');
  await untilText(page, '#topics tr:first-child', first.split('\t')[0]);

  const topic = await page.locator('#topics button').first().innerText();
  await page.locator('#topics button').first().click();
  await untilText(page, '#messages', topic);
  await untilText(page, '#messages', '"price"');

  await page.fill('#publish-topic', 'console/test');
  await page.fill('#publish-data', '{"a":1}');
  await page.click('#publish button');
  await untilText(page, '#publish-result', 'published as 1');
  await page.fill('#inspect-topic', 'console/#');
  await page.click('#inspect button');
  await untilText(page, '#messages', 'console/test 1 {"a":1}');
  await page.fill('#inspect-topic', '$SYS/broker');
  await page.click('#inspect button');
  await untilText(page, '#messages', '"uptime_s"');
  await page.fill('#publish-data', 'no JSON');
  await page.click('#publish button');
  await untilText(page, '#publish-result', 'JSON');

  await page.check('#settings-changed');
  await page.waitForFunction(() => !document.querySelector('#settings tr:not([data-changed])'));
  await untilText(page, '#settings', 'demo');
  await page.uncheck('#settings-changed');
  await page.fill('#settings-search', 'backlog_bytes');
  await untilText(page, '#settings', '1,048,576 bytes (1.0 MiB)');

  // Another connection is closed from here, and comes back as another session.
  const other = await openPage(browser, `${url}demo/machine`);
  await untilConnected(other.page);
  page.on('dialog', (dialog) => dialog.accept());
  await page.waitForFunction(() => document.querySelectorAll('#connections button:enabled').length === 1);
  await page.locator('#connections button:enabled').click();
  await untilText(other.page, '#events', 'lost (1001');
  await untilConnected(other.page);
  await other.finish();
  await seeSlowOnes(page, browser);
  await finish();
});
