// Opens reports in Chromium without a network, as a screen and a phone show them, light and dark.
// Prints what each showed as one line of JSON, with the number of coloured pixels of each plot,
// and what the browser complained of.
// Arguments: folder for screenshots, pages. Environment: NODE_TOOLS, CHROMIUM.

import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.NODE_TOOLS}/`);
const { chromium } = require('playwright-core');

const LOOKS = [
  { look: 'light', colorScheme: 'light', viewport: { width: 1200, height: 900 } },
  { look: 'dark', colorScheme: 'dark', viewport: { width: 1200, height: 900 } },
  {
    look: 'phone',
    colorScheme: 'light',
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
  },
];

// What the open page shows.
function seen() {
  const plots = [...document.querySelectorAll('figure')].map((figure) => {
    const canvas = figure.querySelector('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue, opacity] = data.subarray(at, at + 4);
      const isGrey = Math.max(red, green, blue) - Math.min(red, green, blue) < 60;
      coloured += opacity > 0 && !isGrey;
    }
    const series = figure.querySelectorAll('.u-legend .u-series').length - 1;
    return { name: figure.querySelector('figcaption + div').id, series, coloured };
  });
  return {
    title: document.querySelector('h1').textContent,
    cards: document.querySelectorAll('.run').length,
    rows: document.querySelectorAll('#numbers tbody tr').length,
    ground: getComputedStyle(document.body).backgroundColor,
    plots,
    too_wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
}

const [folder, ...files] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
try {
  for (const file of files) {
    for (const { look, ...options } of LOOKS) {
      const context = await browser.newContext({ ...options, offline: true });
      const page = await context.newPage();
      const complaints = [];
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(String(error)));
      const url = String(pathToFileURL(file));
      page.on('request', (request) => {
        if (request.url() !== url) complaints.push(`asked for ${request.url()}`);
      });
      await page.goto(url);
      // uPlot draws after the script that made it is over.
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
      const name = basename(file, '.html');
      await page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: true });
      console.log(JSON.stringify({ name, look, complaints, ...(await page.evaluate(seen)) }));
      await context.close();
    }
  }
} finally {
  await browser.close();
}
