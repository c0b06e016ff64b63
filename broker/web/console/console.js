// The console: the broker's own numbers from $SYS/broker, its workers from /metrics, topics and
// connections page by page from the API, so that it stays light however many of them there are.

import { connect } from "/altavoz.js";

const EVERY_MS = 2000;
const PAGE = 25;
const SECONDS_SHOWN = 120;
const MESSAGES_KEPT = 50;
const VALUE_SHOWN = 600;
const KEY = "altavoz-key";

const at = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const bytes = (n) => {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(n, 1)) / 10));
  return `${(n / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
};

// ---- access: a key or a token, for this tab alone ----

let key = sessionStorage.getItem(KEY) ?? "";
at("key").value = key;
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  sessionStorage.setItem(KEY, key);
  client.reconnect();
  refresh();
});

async function ask(path, options = {}) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const response = await fetch(path, { ...options, headers });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  throw new Error(answer?.error?.message ?? `${path}: ${response.status}`);
}

// A key of the API is no token: those have three parts.
const client = connect("/ws", { token: () => (key.split(".").length === 3 ? key : undefined) });
client.on("state", ({ state }) => {
  document.documentElement.dataset.state = state;
  at("state").textContent = state;
});

// ---- overview ----

const NUMBERS = ["Connections", "Subscriptions", "Topics", "Messages in / s", "Messages out / s", "In / s", "Out / s", "Waiting", "Round trip", "Up for"];
const shown = Object.fromEntries(NUMBERS.map((name) => [name, make("dd", {}, "–")]));
at("overview").append(...NUMBERS.map((name) => make("div", {}, make("dt", {}, name), shown[name])));

const times = [];
const rates = [];
let before = null;

client.subscribe("$SYS/broker", { last: true }, ({ data }) => {
  const arrived = performance.now();
  const show = (name, text) => (shown[name].textContent = text);
  at("version").textContent = data.version;
  show("Connections", whole.format(data.connections));
  show("Subscriptions", whole.format(data.subscriptions));
  show("Topics", whole.format(data.topics));
  show("Waiting", bytes(data.backlog_bytes));
  show("Up for", `${whole.format(Math.floor(data.uptime_s / 60))} min ${data.uptime_s % 60} s`);
  if (before && data.uptime_s > before.data.uptime_s) {
    const rate = (name) => Math.max(0, ((data[name] - before.data[name]) * 1000) / (arrived - before.arrived));
    show("Messages in / s", short.format(rate("messages_in")));
    show("Messages out / s", short.format(rate("messages_out")));
    show("In / s", bytes(rate("bytes_in")));
    show("Out / s", bytes(rate("bytes_out")));
    times.push(Date.now() / 1000);
    rates.push(rate("messages_out"));
    if (times.length > SECONDS_SHOWN) times.shift(), rates.shift();
    chart.setData([times, rates]);
  }
  before = { data, arrived };
});

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
const clock = (_, seconds) => seconds.map((at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false }));
const place = at("chart");
const chart = new uPlot(
  {
    width: place.clientWidth,
    height: place.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: (_, _low, high) => [high - SECONDS_SHOWN, high] }, y: { range: (_, _low, high) => [0, high * 1.2 || 1] } },
    axes: [{ ...axis, size: 26, space: 90, values: clock }, { ...axis, size: 56 }],
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
  const rows = [...now.workers].map(([worker, numbers]) => {
    const old = workersBefore?.workers.get(worker);
    const rate = (name) => (old ? short.format((Math.max(0, numbers[name] - old[name]) * 1000) / (now.at - workersBefore.at)) : "–");
    return row(worker, whole.format(numbers.connections ?? 0), whole.format(numbers.subscriptions ?? 0), rate("messages_received_total"), rate("messages_sent_total"), bytes(numbers.backlog_bytes ?? 0));
  });
  workersBefore = now;
  at("workers").replaceChildren(...rows);
}

const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));

// ---- topics ----

let topicsAfter = null;
let topicsNext = null;
let seqs = new Map();

async function refreshTopics() {
  const query = new URLSearchParams({ limit: PAGE });
  if (at("prefix").value) query.set("prefix", at("prefix").value);
  if (at("filter").value) query.set("filter", at("filter").value);
  if (topicsAfter) query.set("after", topicsAfter);
  const { topics, next } = await ask(`/api/v1/topics?${query}`);
  topicsNext = next;
  const now = performance.now();
  const known = new Map();
  const rows = topics.map(({ topic, epoch, seq, subscribers, history, last_published_ms }) => {
    const old = seqs.get(topic);
    const rate = old?.epoch === epoch ? short.format(((seq - old.seq) * 1000) / (now - old.now)) : "–";
    known.set(topic, { epoch, seq, now });
    const link = make("button", { type: "button", onclick: () => follow(topic) }, topic);
    const when = last_published_ms ? new Date(last_published_ms).toLocaleTimeString([], { hour12: false }) : "–";
    return row(link, whole.format(seq), rate, whole.format(subscribers), `${history.messages} · ${bytes(history.bytes)}`, when);
  });
  seqs = known;
  show("topics", rows);
  at("topics-note").textContent = topics.length ? "" : next ? "None on this page; see the next." : "None.";
}

/** Puts rows into a table without taking the focus from who moves through it by key. */
function show(id, rows) {
  const body = at(id);
  const index = [...body.querySelectorAll("button")].indexOf(document.activeElement);
  body.replaceChildren(...rows);
  if (index >= 0) body.querySelectorAll("button")[index]?.focus();
}

for (const id of ["prefix", "filter"]) {
  at(id).addEventListener("input", () => {
    topicsAfter = null;
    refresh();
  });
}
at("topics-next").addEventListener("click", () => {
  topicsAfter = topicsNext;
  refresh();
});

// ---- inspect ----

let followed = null;

function follow(topic) {
  followed?.close();
  at("inspected").textContent = topic;
  at("inspect-topic").value = topic;
  at("publish-topic").value ||= /[+#]/.test(topic) ? "" : topic;
  at("messages").replaceChildren();
  followed = client.subscribe(topic, { last: true, mode: "latest", maxRate: 4 }, ({ topic, seq, data, bytes: raw }) => {
    const value = raw ? `${raw.length} bytes` : JSON.stringify(data);
    const text = value.length > VALUE_SHOWN ? `${value.slice(0, VALUE_SHOWN)}… (${value.length} characters)` : value;
    at("messages").prepend(make("p", {}, `${topic} ${seq} ${text}`));
    while (at("messages").children.length > MESSAGES_KEPT) at("messages").lastChild.remove();
  });
  followed.on("error", ({ message }) => at("messages").replaceChildren(make("p", {}, message)));
}

at("inspect").addEventListener("submit", (event) => {
  event.preventDefault();
  follow(at("inspect-topic").value.trim());
});

// ---- publish ----

at("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const data = JSON.parse(at("publish-data").value);
    const { seq, epoch } = await client.publish(at("publish-topic").value.trim(), data);
    at("publish-result").value = `published as ${seq} of epoch ${epoch}`;
  } catch (error) {
    at("publish-result").value = error.message;
  }
});

// ---- connections ----

let connectionsAfter = null;
let connectionsNext = null;

async function refreshConnections() {
  const query = new URLSearchParams({ limit: PAGE });
  if (connectionsAfter) query.set("after", connectionsAfter);
  const { connections, next } = await ask(`/api/v1/connections?${query}`);
  connectionsNext = next;
  const wanted = connections.filter(({ mode }) => !at("slow-only").checked || mode !== "all");
  const rows = wanted.map(({ session, user, address, protocol, mode, subscriptions, stats }) => {
    const isOurs = session === client.session;
    const end = make("button", { type: "button", disabled: isOurs, onclick: () => disconnect(session) }, isOurs ? "this one" : "Close");
    const cells = row(session, user ?? "–", address, protocol, mode, whole.format(subscriptions.length), whole.format(stats.sent), whole.format(stats.conflated), whole.format(stats.dropped), bytes(stats.pending_bytes), `${whole.format(stats.behind_ms)} ms`, end);
    cells.title = subscriptions.slice(0, 20).join("\n");
    if (mode !== "all") cells.children[4].dataset.slow = "";
    return cells;
  });
  show("connections", rows);
  at("connections-note").textContent = rows.length ? "" : "None on this page.";
}

async function disconnect(session) {
  if (!confirm(`Close the connection ${session}?`)) return;
  try {
    await ask(`/api/v1/connections/${session}?code=1001`, { method: "DELETE" });
  } catch (error) {
    at("connections-note").textContent = error.message;
  }
  refresh();
}

at("slow-only").addEventListener("change", refresh);
at("connections-next").addEventListener("click", () => {
  connectionsAfter = connectionsNext;
  refresh();
});

// ---- every two seconds, while someone looks ----

async function refresh() {
  if (document.hidden) return;
  await Promise.all([
    refreshWorkers().catch(() => {}),
    refreshTopics().catch(({ message }) => (at("topics-note").textContent = message)),
    refreshConnections().catch(({ message }) => (at("connections-note").textContent = message)),
    client.state === "connected" &&
      client.ping().then((ms) => (shown["Round trip"].textContent = `${ms.toFixed(1)} ms`), () => {}),
  ]);
}

setInterval(refresh, EVERY_MS);
refresh();
