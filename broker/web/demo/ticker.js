// The stock board: a tile for each symbol, whose numbers cells.js draws once a frame however many
// prices came, and the candles of the one that was chosen, from the history and then live.

import { at, client, colour, make, onTheme, raiseStage, tell, watch } from "/assets/demo/stage.js";
import { Cells, PRICES_KEPT, flash } from "/assets/demo/cells.js";

const NAMES_EVERY_MS = 1000;
const CANDLES_KEPT = 120;
const PRICE_FILTER = "demo/ticker/+";

const board = at("board");
const cells = new Cells(board);
const tiles = new Map();
const renamed = new Set();
let shown = [];
let chosen = null;
let isOrdered = true;

// ---- tiles ----

function addTile(symbol) {
  const button = make("button", { type: "button", tabIndex: -1 }, make("b", {}, symbol));
  const item = make("li", {}, button);
  item.dataset.symbol = symbol;
  const tile = { symbol, item, button, place: -1, prices: [], data: null, move: "up", flashUntil: 0 };
  tiles.set(symbol, tile);
  // In the order of the alphabet: symbols come in any order.
  const next = [...board.children].find((other) => other.dataset.symbol > symbol);
  board.insertBefore(item, next ?? null);
  if (isOrdered) requestAnimationFrame(filterTiles);
  isOrdered = false;
  button.addEventListener("click", () => choose(symbol));
  if (!chosen) choose(symbol);
  return tile;
}

function takePrice({ data }) {
  const tile = tiles.get(data.symbol) ?? addTile(data.symbol);
  const before = tile.data?.price ?? data.price;
  tile.data = data;
  if (data.price !== before) flash(tile, data.price > before ? "up" : "down");
  tile.prices.push(data.price);
  if (tile.prices.length > PRICES_KEPT) tile.prices.shift();
  cells.change(tile);
  renamed.add(tile);
  if (data.symbol === chosen) extendCandle(data);
}

/** What is drawn can't be heard, so the buttons say it, as often as one can listen. */
function tellNames() {
  for (const { button, symbol, data } of renamed) {
    const { price, change } = data;
    button.ariaLabel = `${symbol} ${price.toFixed(2)}, ${change < 0 ? "down" : "up"} ${Math.abs(change).toFixed(2)} %`;
  }
  renamed.clear();
}
setInterval(tellNames, NAMES_EVERY_MS);

// ---- which of them ----

at("filter").addEventListener("input", filterTiles);

/** Hides what is not wanted, and gives everything else its place on the board. */
function filterTiles() {
  const wanted = at("filter").value.trim().toUpperCase();
  shown = [];
  for (const item of board.children) {
    const tile = tiles.get(item.dataset.symbol);
    item.hidden = !tile.symbol.includes(wanted);
    if (!item.hidden) shown.push(tile);
  }
  isOrdered = true;
  cells.show(shown);
  at("shown").textContent = `${shown.length} of ${tiles.size}`;
}

/** The arrow keys move over the board; it is one stop of the Tab key. */
board.addEventListener("keydown", (event) => {
  const from = shown.findIndex(({ item }) => item.contains(event.target));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: cells.columns, ArrowUp: -cells.columns }[event.key];
  if (from < 0 || !step) return;
  event.preventDefault();
  shown[from + step]?.button.focus();
});

// ---- candles ----

let candles = [];
let live = null;
let lineColours;
const readColours = () => {
  lineColours = { "+": colour("--up-line"), "-": colour("--down-line") };
};
readColours();
onTheme(readColours);

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
