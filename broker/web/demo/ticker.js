// The stock board: a tile for each symbol, drawn once a frame however many prices came, and the
// candles of the one that was chosen, from the history and then live.

import { at, client, colour, make, onTheme, raiseStage, tell, watch } from "/assets/demo/stage.js";

const FLASH_MS = 350;
const PRICES_KEPT = 40;
const LINES_A_FRAME = 24;
const CANDLES_KEPT = 120;
const PRICE_FILTER = "demo/ticker/+";

const board = at("board");
const tiles = new Map();
const changed = new Set();
const seen = new Set();
let flashes = [];
let chosen = null;

// ---- tiles ----

const visibility = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const tile = tiles.get(target.dataset.symbol);
    if (isIntersecting) seen.add(tile);
    else seen.delete(tile);
  }
});

function addTile(symbol) {
  const price = make("span");
  const change = make("span", { className: "change" });
  const canvas = make("canvas", { width: 130, height: 24, ariaHidden: "true" });
  const button = make("button", { type: "button", tabIndex: -1 }, make("b", {}, symbol), change, price, canvas);
  const item = make("li", {}, button);
  item.dataset.symbol = symbol;
  const tile = { symbol, item, button, price, change, canvas, pen: canvas.getContext("2d"), prices: [], data: null, drawn: 0 };
  tiles.set(symbol, tile);
  // In the order of the alphabet: symbols come in any order.
  const next = [...board.children].find((other) => other.dataset.symbol > symbol);
  board.insertBefore(item, next ?? null);
  visibility.observe(item);
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
  const old = flashes.findIndex(({ until }) => until > now);
  for (const { tile } of flashes.splice(0, old < 0 ? flashes.length : old)) delete tile.button.dataset.move;
  let lines = 0;
  for (const tile of changed) {
    // What is not in sight is drawn when it comes into sight.
    if (!seen.has(tile) && tile.drawn) continue;
    changed.delete(tile);
    show(tile, now);
    if (lines < LINES_A_FRAME && now - tile.drawn > 250) {
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
  if (!tile.move || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  tile.button.dataset.move = tile.move;
  flashes.push({ tile, until: now + FLASH_MS });
}

function drawLine({ pen, canvas, prices, change }) {
  const low = Math.min(...prices);
  const span = Math.max(...prices) - low || 1;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = lineColours[change.dataset.sign];
  pen.beginPath();
  for (const [index, price] of prices.entries()) {
    pen.lineTo((index / (PRICES_KEPT - 1)) * canvas.width, canvas.height - 2 - ((price - low) / span) * (canvas.height - 4));
  }
  pen.stroke();
}

let lineColours;
const readColours = () => {
  lineColours = { "+": colour("--up-line"), "-": colour("--down-line") };
};
readColours();
onTheme(readColours);

// ---- which of them ----

at("filter").addEventListener("input", filterTiles);

function filterTiles() {
  const wanted = at("filter").value.trim().toUpperCase();
  let count = 0;
  for (const { symbol, item } of tiles.values()) {
    item.hidden = !symbol.includes(wanted);
    if (!item.hidden) count += 1;
  }
  at("shown").textContent = `${count} of ${tiles.size}`;
}

/** The arrow keys move over the board; it is one stop of the Tab key. */
board.addEventListener("keydown", (event) => {
  const visible = [...board.children].filter((item) => !item.hidden);
  const from = visible.indexOf(event.target.closest("li"));
  const columns = getComputedStyle(board).gridTemplateColumns.split(" ").length;
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
setInterval(filterTiles, 1000);
requestAnimationFrame(draw);
