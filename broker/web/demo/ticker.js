// The stock board: a tile for each symbol, drawn once a frame however many prices came, and the
// candles of the one that was chosen, from the history and then live.

import { at, client, colour, make, onTheme, raiseStage, tell, watch } from "/assets/demo/stage.js";

const FLASH_MS = 350;
const PRICES_KEPT = 40;
const LINES_A_FRAME = 24;
const LINE_EVERY_MS = 250;
const LINE_HEIGHT = 20;
const SVG = "http://www.w3.org/2000/svg";
const CANDLES_KEPT = 120;
const PRICE_FILTER = "demo/ticker/+";

const board = at("board");
const tiles = new Map();
const changed = new Set();
const stillness = matchMedia("(prefers-reduced-motion: reduce)");
const flashes = [];
let chosen = null;
let isOrdered = true;

// ---- tiles ----

function addTile(symbol) {
  const price = make("span");
  const change = make("span", { className: "change" });
  // A line of SVG, not a canvas each: five hundred of those are more than a browser likes to paint.
  const line = document.createElementNS(SVG, "polyline");
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${PRICES_KEPT - 1} ${LINE_HEIGHT}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("aria-hidden", "true");
  picture.append(line);
  const button = make("button", { type: "button", tabIndex: -1 }, make("b", {}, symbol), change, price, picture);
  const item = make("li", {}, button);
  item.dataset.symbol = symbol;
  const tile = { symbol, item, button, price, change, line, prices: [], data: null, drawn: 0 };
  tiles.set(symbol, tile);
  // In the order of the alphabet: symbols come in any order.
  const next = [...board.children].find((other) => other.dataset.symbol > symbol);
  board.insertBefore(item, next ?? null);
  isOrdered = false;
  button.addEventListener("click", () => choose(symbol));
  if (!chosen) choose(symbol);
  return tile;
}

function takePrice({ data }) {
  const tile = tiles.get(data.symbol) ?? addTile(data.symbol);
  const before = tile.data?.price ?? data.price;
  tile.data = data;
  tile.move = data.price > before ? "up" : data.price < before ? "down" : tile.move;
  tile.prices.push(data.price);
  if (tile.prices.length > PRICES_KEPT) tile.prices.shift();
  changed.add(tile);
  if (data.symbol === chosen) extendCandle(data);
}

function draw(now) {
  requestAnimationFrame(draw);
  if (!isOrdered) filterTiles();
  isOrdered = true;
  const old = flashes.findIndex(({ until }) => until > now);
  for (const { tile } of flashes.splice(0, old < 0 ? flashes.length : old)) delete tile.button.dataset.move;
  let lines = 0;
  const first = Math.floor(board.scrollTop / rowHeight) * columns;
  const last = Math.ceil((board.scrollTop + boardHeight) / rowHeight) * columns;
  for (const tile of changed) {
    // What is not in sight is drawn when it comes into sight.
    if ((tile.place < first || tile.place >= last) && tile.drawn) continue;
    changed.delete(tile);
    show(tile, now);
    if (lines < LINES_A_FRAME && now - tile.drawn > LINE_EVERY_MS) {
      lines += 1;
      drawLine(tile);
      tile.drawn = now;
    }
  }
}

function show(tile, now) {
  const { price, change } = tile.data;
  tile.price.textContent = price.toFixed(2);
  tile.change.textContent = `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)} %`;
  tile.change.dataset.sign = change < 0 ? "-" : "+";
  if (!tile.move || stillness.matches) return;
  tile.button.dataset.move = tile.move;
  flashes.push({ tile, until: now + FLASH_MS });
}

function drawLine({ line, prices, change }) {
  const low = Math.min(...prices);
  const scale = (LINE_HEIGHT - 2) / (Math.max(...prices) - low || 1);
  const points = prices.map((price, index) => `${index},${(LINE_HEIGHT - 1 - (price - low) * scale).toFixed(1)}`);
  line.setAttribute("points", points.join(" "));
  line.dataset.sign = change.dataset.sign;
}

let lineColours;
const readColours = () => {
  lineColours = { "+": colour("--up-line"), "-": colour("--down-line") };
};
readColours();
onTheme(readColours);

// ---- which of them ----

at("filter").addEventListener("input", filterTiles);

/** Hides what is not wanted, and gives everything else its place on the board. */
function filterTiles() {
  const wanted = at("filter").value.trim().toUpperCase();
  let count = 0;
  for (const item of board.children) {
    const tile = tiles.get(item.dataset.symbol);
    item.hidden = !tile.symbol.includes(wanted);
    tile.place = item.hidden ? -1 : count;
    if (!item.hidden) count += 1;
  }
  at("shown").textContent = `${count} of ${tiles.size}`;
}

// The tiles are all of one size, so where the board stands tells which of them are in sight.
let columns = 1;
let rowHeight = 80;
let boardHeight = 600;
function measureBoard() {
  const { gridTemplateColumns, rowGap } = getComputedStyle(board);
  columns = gridTemplateColumns.split(" ").length;
  const tile = [...board.children].find((item) => !item.hidden);
  if (tile) rowHeight = tile.offsetHeight + parseFloat(rowGap);
  boardHeight = board.clientHeight;
}
new ResizeObserver(measureBoard).observe(board);

/** The arrow keys move over the board; it is one stop of the Tab key. */
board.addEventListener("keydown", (event) => {
  const visible = [...board.children].filter((item) => !item.hidden);
  const from = visible.indexOf(event.target.closest("li"));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (from < 0 || !step) return;
  event.preventDefault();
  visible[from + step]?.firstChild.focus();
});

// ---- candles ----

let candles = [];
let live = null;

async function choose(symbol) {
  const before = tiles.get(chosen);
  if (before) {
    before.button.tabIndex = -1;
    before.button.removeAttribute("aria-current");
  }
  chosen = symbol;
  at("chosen").textContent = symbol;
  const tile = tiles.get(symbol);
  tile.button.tabIndex = 0;
  tile.button.setAttribute("aria-current", "true");
  candles = [];
  live = null;
  try {
    const { messages } = await client.history(`demo/candles/${symbol}`, CANDLES_KEPT);
    if (chosen === symbol) candles = messages.map(({ data }) => data);
  } catch (error) {
    tell(error.message);
  }
}

function extendCandle({ price, at_ms }) {
  live ??= { open: price, high: price, low: price };
  live = { ...live, at_ms, high: Math.max(live.high, price), low: Math.min(live.low, price), close: price };
}

function closeCandle({ topic, data }) {
  if (topic !== `demo/candles/${chosen}`) return;
  candles = [...candles, data].slice(-CANDLES_KEPT);
  live = null;
}

const place = at("candles");
const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
const clock = (_, seconds) => seconds.map((at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false }));
const hidden = { show: true, paths: () => null, points: { show: false } };
const chart = new uPlot(
  {
    width: place.clientWidth,
    height: place.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: true, range: (_, low, high) => [low - 5, Math.max(high + 5, low + 100)] } },
    axes: [{ ...axis, size: 26, space: 90, values: clock }, { ...axis, size: 56 }],
    series: [{}, hidden, hidden, hidden, hidden],
    hooks: { draw: [drawCandles] },
  },
  [[], [], [], [], []],
  place,
);

function drawCandles({ ctx, data, valToPos, bbox }) {
  ctx.save();
  const width = Math.max(2, Math.min(14, (bbox.width / data[0].length) * 0.6));
  for (const [index, time] of data[0].entries()) {
    const x = Math.round(valToPos(time, "x", true));
    const [open, high, low, close] = [1, 2, 3, 4].map((of) => valToPos(data[of][index], "y", true));
    ctx.fillStyle = ctx.strokeStyle = close <= open ? lineColours["+"] : lineColours["-"];
    ctx.fillRect(x - 0.5, high, 1, low - high);
    ctx.fillRect(x - width / 2, Math.min(open, close), width, Math.max(1, Math.abs(open - close)));
  }
  ctx.restore();
}

setInterval(() => {
  if (document.hidden) return;
  const all = live ? [...candles, live] : candles;
  chart.setData([all.map(({ at_ms }) => at_ms / 1000), ...["open", "high", "low", "close"].map((name) => all.map((candle) => candle[name]))]);
}, 250);
new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
onTheme(() => chart.redraw());

raiseStage({ hasRate: true });
watch(PRICE_FILTER, { mode: "latest", last: true }, takePrice);
watch("demo/candles/+", {}, closeCandle);
requestAnimationFrame(draw);
