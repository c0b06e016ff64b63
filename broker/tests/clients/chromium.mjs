// Chromium for the scripts beside this one: opens pages, and collects what the browser complains of
// and what they load from elsewhere. Environment: NODE_TOOLS, CHROMIUM.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.NODE_TOOLS}/`);
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Runs `work` with a browser that is closed afterwards. */
export async function withChromium(work) {
  const executablePath = process.env.CHROMIUM;
  const browser = await chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
  try {
    return await work(browser);
  } finally {
    await browser.close();
  }
}

/** A page that is open and connected; `finish` asserts that nothing was wrong with it. */
export async function openPage(browser, url, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  const { origin } = new URL(url);
  page.on('request', (request) => {
    const isOurs = request.url().startsWith(origin) || /^(data|blob):/.test(request.url());
    if (!isOurs) complaints.push(`from elsewhere: ${request.url()}`);
  });
  const response = await page.goto(url);
  assert.equal(response.status(), 200, url);
  const finish = async () => {
    await page.close();
    assert.deepEqual(complaints, [], url);
  };
  return { page, complaints, finish };
}

/** What stands in the way of people who do not see, or use no mouse. */
export async function barriers(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
}

/** The number that an element shows. */
export const numberIn = (page, selector) =>
  page.locator(selector).innerText().then((text) => Number(text.replace(/[^0-9.-]/g, '')));

/** Waits until an element shows a number for which this holds. */
export const untilNumber = (page, selector, least) =>
  page.waitForFunction(
    ([selector, least]) =>
      Number(document.querySelector(selector)?.textContent.replace(/[^0-9.-]/g, '') || NaN) >= least,
    [selector, least],
  );

/** Waits until an element's text has these words in it. */
export const untilText = (page, selector, words) =>
  page.waitForFunction(
    ([selector, words]) => document.querySelector(selector)?.textContent.includes(words),
    [selector, words],
  );

export const untilConnected = (page) =>
  page.waitForFunction(() => document.documentElement.dataset.state === 'connected');
