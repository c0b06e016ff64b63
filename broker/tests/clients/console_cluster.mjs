// The console of a node among others: all of them, what is on each, and what becomes of one that
// dies. Arguments: URL of the node, folder for screenshots, URL of another node with demos, its
// process id.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { barriers, openPage, untilConnected, untilText, withChromium } from './chromium.mjs';

const [url, folder, other, id] = process.argv.slice(2);

await withChromium(async (browser) => {
  const { page, finish } = await openPage(browser, `${url}console`);
  await untilConnected(page);
  await untilText(page, '#cluster', '2 nodes are there, as node a sees it.');
  await untilText(page, '#nodes tr:nth-child(1)', 'this node');
  await untilText(page, '#nodes tr:nth-child(2)', 'alive');
  await page.fill('#filter', 'demo/ticker/+');
  await untilText(page, '#topics .node', 'b');

  // Someone on the other node is closed from here.
  const there = await openPage(browser, `${other}demo/machine`);
  await untilConnected(there.page);
  page.on('dialog', (dialog) => dialog.accept());
  const row = page.locator('#connections tr', { has: page.locator('.node', { hasText: /^b$/ }) });
  await row.locator('button').click();
  await untilText(there.page, '#events', 'lost (1001');
  await there.finish();
  assert.deepEqual(await barriers(page), []);
  await page.locator('#nodes-table').scrollIntoViewIfNeeded();
  await page.screenshot({ path: join(folder, 'console-cluster.png') });

  process.kill(Number(id), 'SIGKILL');
  await untilText(page, '#cluster', '1 gone');
  await untilText(page, '#nodes tr:nth-child(2)', 'gone');
  assert.deepEqual(await barriers(page), []);
  await finish();
});
