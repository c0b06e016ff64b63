// The console: the broker's own numbers from $SYS/broker, its workers from /metrics, and the parts
// of the other files, refreshed every two seconds while someone looks.

import { connect } from "/altavoz.js";
import { OWN, access, at, bytes, clock, duration, make, row, short, show, useKey, whole } from "/assets/console/parts.js";
import { refreshCluster } from "/assets/console/cluster.js";
import { raiseConnections, refreshConnections } from "/assets/console/connections.js";
import { raiseSettings, refreshSettings } from "/assets/console/settings.js";
import { raiseTopics, refreshTopics } from "/assets/console/topics.js";

const EVERY_MS = 2000;
const SETTINGS_EVERY_MS = 30_000;
const SECONDS_SHOWN = 120;
/** Numbers that come late come in a heap; those that come sooner than this are left out. */
const APART_MS = 500;
/** Numbers between which a rate is taken: what this page asks for itself comes every other second. */
const RATE_OVER = 2;

// ---- access: a key or a token, for this tab alone ----

at("key").value = access.key;
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value.trim());
  client.reconnect();
  refresh();
  refreshSettings();
});

// A key of the API is no token: those have three parts.
const client = connect("/ws", { token: () => (access.key.split(".").length === 3 ? access.key : undefined) });
client.on("state", ({ state }) => {
  document.documentElement.dataset.state = state;
  at("state").textContent = state;
});

// ---- overview ----

const NUMBERS = ["Connections", "Subscriptions", "Topics", "Received / s", "Sent / s", "Bytes in / s", "Bytes out / s", "Waiting", "Round trip", "Up for"];
const shown = Object.fromEntries(NUMBERS.map((name) => [name, make("dd", {}, "–")]));
at("overview").append(...NUMBERS.map((name) => make("div", {}, make("dt", {}, name), shown[name])));

const times = [];
const rates = [];
const past = [];

client.subscribe(OWN.topic, OWN.options, ({ data }) => {
  const arrived = performance.now();
  const tell = (name, text) => (shown[name].textContent = text);
  at("version").textContent = data.version;
  tell("Connections", whole.format(data.connections));
  tell("Subscriptions", whole.format(data.subscriptions));
  tell("Topics", whole.format(data.topics));
  tell("Waiting", bytes(data.backlog_bytes));
  tell("Up for", duration(data.uptime_s));
  if (past.length && arrived - past.at(-1).arrived < APART_MS) return;
  // A broker that has begun anew counts from zero.
  if (past.length && data.uptime_s < past.at(-1).data.uptime_s) past.length = 0;
  const [before] = past;
  if (before) {
    const rate = (name) => Math.max(0, ((data[name] - before.data[name]) * 1000) / (arrived - before.arrived));
    tell("Received / s", short.format(rate("messages_in")));
    tell("Sent / s", short.format(rate("messages_out")));
    tell("Bytes in / s", bytes(rate("bytes_in")));
    tell("Bytes out / s", bytes(rate("bytes_out")));
    times.push(Date.now() / 1000);
    rates.push(rate("messages_out"));
    if (times.length > SECONDS_SHOWN) times.shift(), rates.shift();
    chart.setData([times, rates]);
  }
  past.push({ data, arrived });
  if (past.length > RATE_OVER) past.shift();
});

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
/** Up to the newest number; before there is one, up to now. */
const lastSeconds = () => {
  const end = times.at(-1) ?? Date.now() / 1000;
  return [end - SECONDS_SHOWN, end];
};
const place = at("chart");
const chart = new uPlot(
  {
    width: place.clientWidth,
    height: place.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: lastSeconds }, y: { range: (_, _low, high) => [0, high * 1.2 || 1] } },
    axes: [{ ...axis, size: 26, space: 90, values: (_, seconds) => seconds.map((s) => clock(s * 1000)) }, { ...axis, size: 56 }],
    series: [{}, { stroke: () => colour("--accent"), fill: () => colour("--accent-faint"), width: 2, points: { show: false } }],
  },
  [times, rates],
  place,
);
new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());

// ---- workers ----

let workersBefore = null;

async function refreshWorkers() {
  const text = await (await fetch("/metrics")).text();
  const now = { at: performance.now(), workers: new Map() };
  for (const [, name, worker, value] of text.matchAll(/^altavoz_(\w+)\{[^}]*worker="(\d+)"[^}]*\} ([\d.e+]+)$/gm)) {
    const numbers = now.workers.get(worker) ?? {};
    numbers[name] = (numbers[name] ?? 0) + Number(value);
    now.workers.set(worker, numbers);
  }
  const loads = [...now.workers].map(([worker, numbers]) => {
    const old = workersBefore?.workers.get(worker);
    const rate = (name) => (old ? (Math.max(0, numbers[name] - old[name]) * 1000) / (now.at - workersBefore.at) : NaN);
    const [received, sent, turns] = ["messages_received_total", "messages_sent_total", "turns_total"].map(rate);
    return { worker, numbers, received, sent, turns };
  });
  const all = loads.reduce((sum, { received, sent }) => sum + received + sent, 0);
  workersBefore = now;
  show("workers", loads.map((load) => workerRow(load, all)));
}

function workerRow({ worker, numbers, received, sent, turns }, all) {
  const share = all ? (received + sent) / all : 0;
  const meter = make("meter", { value: share || 0, ariaLabel: `Share of worker ${worker}` });
  const part = make("span", { className: "share" }, `${whole.format((share || 0) * 100)} %`, meter);
  const rates = [received, sent, turns].map((rate) => (Number.isNaN(rate) ? "–" : short.format(rate)));
  const count = (name) => whole.format(numbers[name] ?? 0);
  return row(worker, part, ...rates, count("connections"), count("subscriptions"), count("backlogged_connections"), bytes(numbers.backlog_bytes ?? 0), bytes(numbers.mailbox_bytes ?? 0));
}

// ---- while someone looks ----

async function refresh() {
  if (document.hidden) return;
  const parts = [refreshWorkers(), refreshTopics(), refreshConnections(), refreshCluster()];
  // What fails tells so in its own place, and is tried again.
  await Promise.allSettled(parts);
}

/** Not beside the questions of a refresh, whose answers it would wait for. */
async function ping() {
  if (document.hidden || client.state !== "connected") return;
  const ms = await client.ping().catch(() => null);
  if (ms !== null) shown["Round trip"].textContent = `${ms.toFixed(1)} ms`;
}

raiseTopics(client);
raiseConnections(client);
raiseSettings();
setInterval(refresh, EVERY_MS);
setTimeout(() => setInterval(ping, EVERY_MS), EVERY_MS / 2);
setInterval(() => document.hidden || refreshSettings(), SETTINGS_EVERY_MS);
refresh();
refreshSettings();
