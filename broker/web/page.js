// The live page: follows the broker's own numbers on $SYS/broker, and sends a random walk through
// the broker to itself to show the way there and back. Everything shown came over the WebSocket.

import { Link } from "./link.js";

const SYSTEM_TOPIC = "$SYS/broker";
const DEMO_TOPIC = `demo/${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
const PUBLISH_EVERY_MS = 100;
const SECONDS_SHOWN = 30;
const POINTS_KEPT = (SECONDS_SHOWN * 1000) / PUBLISH_EVERY_MS + 1;
const ROUND_TRIPS_KEPT = 50;

const at = (id) => document.getElementById(id);
const show = (id, text) => {
  at(id).textContent = text;
};

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact" });

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(n, 1)) / 10));
  return `${(n / 1024 ** power).toFixed(power && n / 1024 ** power < 100 ? 1 : 0)} ${units[power]}`;
}

function duration(seconds) {
  const [d, h, m] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

// ---- the broker's numbers: totals, from which rates follow ----

let before = null;

function showBroker(now) {
  show("connections", whole.format(now.connections));
  show("subscriptions", whole.format(now.subscriptions));
  show("topics", whole.format(now.topics));
  show("uptime", duration(now.uptime_s));
  show("workers", whole.format(now.workers));
  show("version", now.version);
  show("messages-total", `${short.format(now.messages_out)} sent in all`);
  const arrived = performance.now();
  // A broker that was started anew counts from zero: no rate from before to after.
  if (before && now.uptime_s >= before.totals.uptime_s) {
    const seconds = (arrived - before.arrived) / 1000;
    const rate = (name) => Math.max(0, (now[name] - before.totals[name]) / seconds);
    show("messages-in", short.format(rate("messages_in")));
    show("messages-out", short.format(rate("messages_out")));
    show("bytes-in", `${bytes(rate("bytes_in"))}/s`);
    show("bytes-out", `${bytes(rate("bytes_out"))}/s`);
  }
  before = { totals: now, arrived };
}

// ---- the walk: there and back through the broker ----

let value = 100;
let received = 0;
const roundTrips = [];
const times = [];
const values = [];

function publishStep() {
  if (document.hidden) return;
  value = Math.max(20, Math.min(180, value + (Math.random() - 0.5) * 6));
  const data = { value: Math.round(value * 100) / 100, sent_ms: performance.now() };
  link.send({ op: "publish", topic: DEMO_TOPIC, data });
}

function showStep(data) {
  const roundTrip = performance.now() - data.sent_ms;
  received += 1;
  roundTrips.push(roundTrip);
  if (roundTrips.length > ROUND_TRIPS_KEPT) roundTrips.shift();
  times.push(performance.now() / 1000);
  values.push(data.value);
  if (times.length > POINTS_KEPT) {
    times.shift();
    values.shift();
  }
  const median = [...roundTrips].sort((a, b) => a - b)[roundTrips.length >> 1];
  show("received", whole.format(received));
  show("rtt", `${median.toFixed(median < 10 ? 1 : 0)} ms`);
  show("value", data.value.toFixed(2));
  chart.setData([times, values]);
}

// ---- the chart ----

const chartBox = at("chart");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = {
  stroke: () => colour("--quiet"),
  grid: { stroke: () => colour("--line"), width: 1 },
  ticks: { show: false },
  font: "12px system-ui, sans-serif",
};
const chart = new uPlot(
  {
    width: chartBox.clientWidth,
    height: chartBox.clientHeight,
    cursor: { show: false },
    legend: { show: false },
    scales: {
      // The newest value stands at the right edge, and the walk grows to the left of it.
      x: { time: false, range: (_, _low, high) => [(high ?? 0) - SECONDS_SHOWN, high ?? 0] },
      y: { range: (_, low, high) => [Math.floor(low ?? 90) - 2, Math.ceil(high ?? 110) + 2] },
    },
    axes: [
      { ...axis, size: 26, values: (_, seconds) => seconds.map((at) => (at < 0 ? "" : `${at} s`)) },
      { ...axis, size: 44 },
    ],
    series: [
      {},
      {
        stroke: () => colour("--accent"),
        fill: () => colour("--accent-faint"),
        width: 2,
        points: { show: false },
      },
    ],
  },
  [times, values],
  chartBox,
);
new ResizeObserver(() => {
  chart.setSize({ width: chartBox.clientWidth, height: chartBox.clientHeight });
}).observe(chartBox);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());

// ---- the connection ----

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const address = `${scheme}//${location.host}/ws`;
const link = new Link(address, {
  state(name, detail) {
    document.documentElement.dataset.state = name;
    show("state", name);
    show("state-detail", detail);
  },
  open() {
    before = null;
    const subscribe = (id, topic) => ({ id, op: "subscribe", topic });
    link.send([subscribe(1, SYSTEM_TOPIC), subscribe(2, DEMO_TOPIC)]);
  },
  message(message) {
    if (message.topic === SYSTEM_TOPIC) showBroker(message.data);
    else if (message.topic === DEMO_TOPIC) showStep(message.data);
    else if (message.error) show("state-detail", message.error.message);
  },
});

show("demo-topic", DEMO_TOPIC);
show("sample-address", `"${address}"`);
setInterval(publishStep, PUBLISH_EVERY_MS);
link.open();
