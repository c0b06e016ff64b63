// Opens the broker's page in Chromium, waits until it shows that messages arrive, its own and the
// broker's numbers, and prints as one line of JSON what it showed and what the browser complained
// of.
// Arguments: URL, file for a screenshot. Environment: NODE_TOOLS, CHROMIUM.

import { createRequire } from 'node:module';

const require = createRequire(`${process.env.NODE_TOOLS}/`);
const { chromium } = require('playwright-core');

const [url, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1000 } });
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('requestfailed', (request) => complaints.push(`not loaded: ${request.url()}`));
  const foreign = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
      foreign.push(request.url());
    }
  });

  const response = await page.goto(url);
  const received = () => page.locator('#received').innerText();
  const count = (text) => Number(text.replace(/[^0-9]/g, ''));
  await page.waitForFunction(
    () => document.querySelector('#state')?.textContent.trim() === 'connected',
  );
  const grownPast = (least) =>
    page.waitForFunction(
      (least) =>
        Number(document.querySelector('#received')?.textContent.replace(/[^0-9]/g, '')) > least,
      least,
    );
  await grownPast(0);
  const first = count(await received());
  await page.waitForFunction(
    () => Number(document.querySelector('#connections')?.textContent) >= 1,
  );
  await grownPast(first + 40);
  const second = count(await received());
  await page.screenshot({ path: screenshot });
  const state = (await page.locator('#state').innerText()).trim();
  console.log(
    JSON.stringify({ status: response.status(), state, first, second, complaints, foreign }),
  );
} finally {
  await browser.close();
}
