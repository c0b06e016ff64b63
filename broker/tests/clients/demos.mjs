// Uses the demos as a person would: opens them, turns their knobs, and looks whether they do what
// they say. Arguments: URL of the broker, folder for screenshots, name of the scene.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import {
  barriers, numberIn, openPage, untilConnected, untilNumber, untilText, withChromium,
} from './chromium.mjs';

const [url, folder, scene] = process.argv.slice(2);
const PAGES = ['board', 'chat', 'machine', 'notices', 'ticker'];
const KINDS = {
  light: {},
  dark: { colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
};
/** What shows on each page that its feed arrives. */
const ALIVE = {
  board: (page) => untilText(page, '#pens', '1 pen is drawing'),
  chat: (page) => untilText(page, '#lines', '% today.'),
  machine: (page) => untilText(page, '#memory', 'B'),
  notices: (page) => untilNumber(page, '#unread', 1),
  ticker: (page) => untilText(page, '#shown', '500 of 500'),
};

const open = async (browser, name, options) => {
  const opened = await openPage(browser, `${url}demo/${name}`, options);
  await untilConnected(opened.page);
  return opened;
};

/** What the first page says to paste into the console, pasted into the console. */
async function paste(page) {
  const expression = await page.locator('pre').innerText();
  const session = await page.context().newCDPSession(page);
  const price = page.waitForEvent('console', { predicate: (line) => Number(line.text()) > 0 });
  const { exceptionDetails } = await session.send('Runtime.evaluate', { expression, replMode: true });
  assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
  await price;
}

const scenes = {
  async 'every page'(browser) {
    const index = await openPage(browser, url);
    assert.equal(await index.page.locator('.doors a').count(), 6);
    assert.deepEqual(await barriers(index.page), []);
    await paste(index.page);
    await index.page.screenshot({ path: join(folder, 'index.png') });
    await index.finish();
    for (const name of PAGES) {
      for (const [kind, options] of Object.entries(KINDS)) {
        const { page, finish } = await open(browser, name, options);
        await ALIVE[name](page);
        await page.screenshot({ path: join(folder, `${name}-${kind}.png`) });
        assert.deepEqual(await barriers(page), [], `${name}, ${kind}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${name}, ${kind}: ${overflow} pixels too wide`);
        await finish();
      }
    }
  },

  async ticker(browser) {
    const { page, finish } = await open(browser, 'ticker');
    await ALIVE.ticker(page);
    // The numbers are drawn, and said by the names of the buttons.
    const seen = () => [
      document.querySelector('.board canvas').toDataURL(),
      document.querySelector('#board button').ariaLabel,
    ];
    const first = await page.evaluate(seen);
    await page.waitForFunction(([looks, name]) => {
      const [canvas, button] = ['.board canvas', '#board button'].map((of) => document.querySelector(of));
      return canvas.toDataURL() !== looks && button.ariaLabel !== name;
    }, first);
    const [, name] = await page.evaluate(seen);
    assert.match(name, /^[A-Z]{4} \d+\.\d\d, (up|down) \d+\.\d\d %$/);

    await page.fill('#filter', 'al');
    await page.waitForFunction(() => !document.querySelector('#shown').textContent.startsWith('500'));
    const shown = await page.locator('#board li:visible b').allInnerTexts();
    assert.ok(shown.length > 5 && shown.every((symbol) => symbol.includes('AL')), String(shown));
    await page.locator('#board li:visible button').nth(1).click();
    assert.equal(await page.locator('#chosen').innerText(), shown[1]);
    await page.keyboard.press('ArrowRight');
    const focused = await page.evaluate(() => document.activeElement.querySelector('b').textContent);
    assert.equal(focused, shown[2]);

    // Of what is not there nothing stays drawn.
    await page.fill('#filter', 'no such symbol');
    await untilText(page, '#shown', '0 of 500');
    await page.waitForFunction(() => {
      const canvas = document.querySelector('.board canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.every((value) => value === 0);
    });
    await page.fill('#filter', '');

    await page.locator('#rate').fill('1');
    await untilText(page, '#rate-shown', 'at most 1 a second');
    const { conflated } = await page.evaluate(async () => {
      const { client } = await import('/assets/demo/stage.js');
      return client.stats();
    });
    await untilNumber(page, '#conflated', conflated + 200);
    await finish();
  },

  async pause(browser) {
    const { page, finish } = await open(browser, 'ticker');
    await ALIVE.ticker(page);
    await page.click('#pause');
    await page.waitForFunction(() => document.querySelector('#messages').textContent === '0');
    const skipped = await numberIn(page, '#skipped');
    await untilNumber(page, '#skipped', skipped + 100);
    await page.click('#pause');
    await untilText(page, '#events', 'messages passed by meanwhile');
    await untilNumber(page, '#messages', 10);
    await finish();
  },

  async slow(browser) {
    const { page, finish } = await open(browser, 'notices');
    await page.click('#slow');
    await untilText(page, '#events', 'reads nothing');
    await untilText(page, '#events', 'latest from here on (slow)');
    await untilText(page, '#events', 'will not come');
    await untilText(page, '#events', 'caught up');
    assert.equal(await page.locator('#ladder [aria-current]').innerText(), 'all');
    await page.waitForSelector('#slow:enabled');
    await finish();
  },

  async cut(browser) {
    const { page, finish } = await open(browser, 'notices');
    await ALIVE.notices(page);
    await page.click('#cut');
    await page.waitForFunction(() => document.documentElement.dataset.state !== 'connected');
    await untilConnected(page);
    await untilText(page, '#events', 'everything that was missed has come');
    await finish();
  },

  // The cable is a real one: a proxy that ends its connections and takes no others.
  async 'cut for real'(browser) {
    const port = Number(new URL(url).port);
    const ends = new Set();
    let isCut = false;
    const server = createServer((near) => {
      near.on('error', () => {});
      if (isCut) return near.destroy();
      const far = connect(port, '127.0.0.1');
      ends.add(near).add(far);
      far.on('error', () => near.destroy());
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      near.pipe(far).pipe(near);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const through = `http://127.0.0.1:${server.address().port}/`;
    const { page } = await openPage(browser, `${through}demo/notices`);
    await untilConnected(page);
    await ALIVE.notices(page);
    isCut = true;
    for (const end of ends) end.destroy();
    await page.waitForFunction(() => document.documentElement.dataset.state === 'waiting');
    await untilText(page, '#events', 'lost (1006');
    isCut = false;
    await untilText(page, '#events', 'everything that was missed has come');
    const topics = await page.evaluate(async () => {
      const { client } = await import('/assets/demo/stage.js');
      const kept = await Promise.all(
        ['orders', 'deploys', 'alerts', 'people'].map((name) => client.history(`demo/notices/${name}`, 50)),
      );
      return kept.flatMap(({ messages }) => messages.map(({ data }) => data.title));
    });
    for (const title of topics) await untilText(page, '#inbox', title);
    await page.close();
    server.close();
  },

  async together(browser) {
    const [one, other] = [await open(browser, 'chat'), await open(browser, 'chat')];
    await untilText(other.page, '#count', '2');
    await one.page.fill('#name', 'Ana');
    await one.page.click('#rename button');
    await one.page.fill('#text', 'hello, all');
    await one.page.keyboard.press('Enter');
    await untilText(other.page, '#lines', 'Ana hello, all');
    await untilText(other.page, '#members', 'Ana');
    await one.finish();
    await untilText(other.page, '#count', '1');
    await other.finish();
  },

  async board(browser) {
    const [one, other] = [await open(browser, 'board'), await open(browser, 'board')];
    await one.page.click('#wipe');
    const box = await one.page.locator('#canvas').boundingBox();
    await one.page.mouse.move(box.x + 0.9 * box.width, box.y + 0.9 * box.height);
    await one.page.mouse.down();
    await one.page.mouse.move(box.x + 0.98 * box.width, box.y + 0.95 * box.height, { steps: 8 });
    await one.page.mouse.up();
    // Nobody else draws in that corner.
    await other.page.waitForFunction(() => {
      const canvas = document.querySelector('#canvas');
      const corner = canvas.getContext('2d').getImageData(900, 560, 90, 60).data;
      return corner.some((value) => value > 0);
    });
    await Promise.all([one.finish(), other.finish()]);
  },

  async notices(browser) {
    const { page, finish } = await open(browser, 'notices');
    await untilNumber(page, '#unread', 3);
    const channels = await page.locator('#inbox li p').allInnerTexts();
    const name = channels[0].split(':')[0];
    await page.uncheck(`#channels input[value="${name}"]`);
    const left = await page.locator('#inbox li:visible p').allInnerTexts();
    assert.ok(left.every((text) => !text.startsWith(`${name}:`)), String(left));
    await page.check(`#channels input[value="${name}"]`);
    await page.click('#read-all');
    assert.ok((await numberIn(page, '#unread')) <= 1);
    await finish();
  },

  // The pages of the quick start, as they stand in the documentation.
  async 'quick start'(browser) {
    const document = readFileSync(new URL('../../../docs/QUICKSTART.md', import.meta.url), 'utf8');
    const pages = [...document.matchAll(/```html\n([^]*?)```/g)].map(([, page]) => page);
    assert.equal(pages.length, 2);
    for (const body of pages) {
      const lines = body.trim().split('\n').length;
      assert.ok(lines <= 30, `${lines} lines`);
      const page = await browser.newPage();
      const here = new URL(url).host;
      const file = join(folder, 'dashboard.html');
      writeFileSync(file, body.replaceAll('127.0.0.1:8080', here));
      await page.goto(`file://${file}`);
      await page.waitForFunction(() => {
        const cells = [...document.querySelectorAll('td:nth-child(2)')];
        return cells.length === 10 && cells.every((cell) => Number(cell.textContent) > 0);
      });
      const first = await page.locator('#prices').innerText();
      await page.waitForFunction((first) => document.querySelector('#prices').innerText !== first, first);
      await page.close();
    }
  },

  // How many frames a second the board draws while all prices come as fast as they are published.
  async frames(browser) {
    const { page, finish } = await open(browser, 'ticker');
    await ALIVE.ticker(page);
    await untilNumber(page, '#messages', 1);
    const measured = await page.evaluate(async () => {
      const { client } = await import('/assets/demo/stage.js');
      const seconds = 10;
      const before = await client.stats();
      const times = await new Promise((resolve) => {
        const times = [];
        const step = (time) => {
          times.push(time);
          if (time - times[0] < seconds * 1000) requestAnimationFrame(step);
          else resolve(times);
        };
        requestAnimationFrame(step);
      });
      const after = await client.stats();
      const lasted = (times.at(-1) - times[0]) / 1000;
      const pauses = times.slice(1).map((time, index) => time - times[index]).sort((a, b) => a - b);
      return {
        seconds: lasted,
        messages_per_second: (after.sent - before.sent) / lasted,
        conflated_per_second: (after.conflated - before.conflated) / lasted,
        frames_per_second: pauses.length / lasted,
        frame_ms_p99: pauses[Math.floor(pauses.length * 0.99)],
      };
    });
    console.log(JSON.stringify(measured));
    await finish();
  },
};

await withChromium((browser) => scenes[scene](browser));
