// Draws the page of one result or of several side by side. The results stand in the page itself as
// JSON; nothing is loaded from anywhere.
"use strict";

const runs = JSON.parse(document.getElementById("data").textContent);
const many = runs.length > 1;
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const ink = dark ? "#9db0a9" : "#56645f";
const grid = { stroke: dark ? "#2a3733" : "#e7ebe8", width: 1 };
const colours = dark
  ? ["#2dd4bf", "#fb923c", "#818cf8", "#f472b6", "#facc15", "#60a5fa"]
  : ["#0f766e", "#c2410c", "#4f46e5", "#be185d", "#a16207", "#1d4ed8"];

const at = (value, path) => path.split("/").reduce((inner, name) => inner?.[name], value);
const grouped = (number) => Math.round(number).toLocaleString("en-US");
const three = (number) => (number < 10 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : grouped(number));
const percent = (share) => `${(share * 100).toFixed(1)} %`;

function time(micros) {
  if (micros < 1e3) return `${three(micros)} µs`;
  return micros < 1e6 ? `${three(micros / 1e3)} ms` : `${three(micros / 1e6)} s`;
}

// An element with text or children.
function make(name, content, className) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (Array.isArray(content)) element.append(...content);
  else element.textContent = content;
  return element;
}

const known = (show) => (value) => (value === null || value === undefined ? "–" : show(value));
const NUMBERS = [
  ["Messages sent", "messages/sent", grouped],
  ["Messages a second asked for", "plan/per_second", three],
  ["Messages a second reached", "messages/per_second", three],
  ["Payload bytes", "plan/payload_bytes", grouped],
  ["Subscribers", "plan/subscribers", grouped],
  ["Publishers", "plan/publishers", grouped],
  ["Topics", "plan/topics", grouped],
  ["Connections ready", "connections/ready", grouped],
  ["Connections made a second", "connections/per_second", grouped],
  ["Deliveries expected", "deliveries/expected", grouped],
  ["Delivered", "deliveries/delivered", grouped],
  ["Lost", "deliveries/lost", grouped],
  ["Duplicated", "deliveries/duplicated", grouped],
  ["Out of order", "deliveries/out_of_order", grouped],
  ["Deliveries a second", "deliveries/per_second", grouped],
  ["Latency p50", "latency_us/p50", time],
  ["Latency p90", "latency_us/p90", time],
  ["Latency p99", "latency_us/p99", time],
  ["Latency p99.9", "latency_us/p99.9", time],
  ["Latency max", "latency_us/max", time],
  ["Net p50", "net_us/p50", time],
  ["Net p90", "net_us/p90", time],
  ["Net p99", "net_us/p99", time],
  ["Net max", "net_us/max", time],
  ["Own lag p50", "own_lag_us/p50", time],
  ["Own lag p90", "own_lag_us/p90", time],
  ["Own lag p99", "own_lag_us/p99", time],
  ["Own lag max", "own_lag_us/max", time],
  ["Not split into net and own lag", "latency_parts/undecided", grouped],
  ["To the first delivery, p50", "to_first_us/p50", time],
  ["To the first delivery, p99", "to_first_us/p99", time],
  ["To the first delivery, max", "to_first_us/max", time],
  ["To the last delivery, p50", "to_last_us/p50", time],
  ["To the last delivery, p99", "to_last_us/p99", time],
  ["To the last delivery, max", "to_last_us/max", time],
  ["Messages not followed", "messages_not_followed", grouped],
  ["Sent late by, p50", "send_lag_us/p50", time],
  ["Sent late by, p99", "send_lag_us/p99", time],
  ["Sent late by, max", "send_lag_us/max", time],
  ["Generator: busiest thread", "generator/busiest_thread_share", percent],
  ["Generator: cores", "generator/cores", three],
  ["Generator: late wakes", "generator/hiccups/count", grouped],
  ["Stolen by the host", "generator/stolen_share", percent],
  ["Target: cores", "target/process/cores", three],
  ["Target: processor time per delivery", "target/process/cpu_us_per_delivery", time],
  ["Target: processor time per connection", "target/process/cpu_us_per_connection", time],
  ["Target: memory per connection, bytes", "target/process/rss_bytes_per_connection", grouped],
  ["Target: sends per delivery", "target/process/sends_per_delivery", (n) => n.toFixed(3)],
];
const TILES = ["connections/ready", "latency_us/p50", "latency_us/p99", "latency_us/max", "deliveries/per_second", "deliveries/lost", "target/process/cpu_us_per_delivery"];
const IDLE_TILES = ["connections/ready", "connections/per_second", "target/process/cpu_us_per_connection", "target/process/rss_bytes_per_connection"];

// Nothing was published: there is nothing to say about messages.
const isIdle = (result) => !at(result, "deliveries/expected");
const ofMessages = (path) => /^(messages|deliveries|latency_parts|plan\/(per|payload|publishers|topics))/.test(path);

function card({ name, result }) {
  const trust = at(result, "verdict/measurement");
  const code = at(result, "verdict/exit_code");
  const isBad = code !== 0 || trust === "INVALID";
  const tone = isBad ? "invalid" : trust === "SUSPECT" ? "suspect" : "valid";
  const badge = trust && make("span", trust, `badge ${trust.toLowerCase()}`);
  const head = make("p", [...(badge ? [badge] : []), ...(many ? [make("strong", `${name} `)] : []), at(result, "verdict/text") ?? ""]);
  const lines = [
    ...(at(result, "verdict/reasons") ?? []).map(({ trust, text }) => make("li", text, trust.toLowerCase())),
    ...(result.thresholds ?? []).map(({ demand, met, value }) =>
      make("li", `${demand} ${met ? "met" : "missed"}: ${value ?? "not known"}`, met ? "valid" : "invalid")),
  ];
  const wanted = isIdle(result) ? IDLE_TILES : TILES;
  const tiles = NUMBERS.filter(([, path]) => wanted.includes(path) && at(result, path) != null)
    .map(([label, path, show]) => make("div", [make("dt", label), make("dd", show(at(result, path)))]));
  const element = make("div", [head, ...(lines.length ? [make("ul", lines)] : []), make("dl", tiles)], "run");
  element.style.setProperty("--tone", `var(--${tone})`);
  return element;
}

function table() {
  const rows = NUMBERS.filter(([, path]) => runs.some(({ result }) => at(result, path) != null && !(isIdle(result) && ofMessages(path))))
    .map(([label, path, show]) => make("tr", [make("th", label), ...runs.map(({ result }) => make("td", known(show)(at(result, path))))]));
  const head = many ? [make("thead", [make("tr", [make("th", ""), ...runs.map(({ name }) => make("th", name))])])] : [];
  const element = document.getElementById("numbers");
  element.classList.toggle("many", many);
  element.append(...head, make("tbody", rows));
}

// In a legend: nothing where the pointer is over no plot.
const pointed = (show) => (value) => (value === null || value === undefined ? "" : show(value));

// One table of x and many y, as uPlot wants it, from several with x values of their own.
const join = (tables) => (tables.length > 1 ? uPlot.join(tables) : tables[0]);

function draw(id, data, series, { x, y, height = 220, log = false, ticks }) {
  const place = document.getElementById(id);
  const isEmpty = !data || !data.slice(1).some((values) => values.some((value) => value > 0));
  if (isEmpty) {
    place.closest("figure").remove();
    return;
  }
  const options = {
    width: place.clientWidth,
    height,
    legend: { markers: { dash: (plot, index) => (plot.series[index].dash?.length ? "dashed" : "solid") } },
    scales: { x: { time: false, ...x.scale }, y: log ? { distr: 3, range: powers } : { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { stroke: ink, grid, ticks: grid, values: (_, values) => values.map(x.show), ...(ticks && { splits: (plot) => ticks(plot.width) }) },
      { stroke: ink, grid, ticks: grid, size: 70, values: (_, values) => values.map((value) => (value == null ? "" : y(value))) },
    ],
    series: [{ label: x.label, value: (_, value) => pointed(x.show)(value) }, ...series.map((one, index) => ({
      stroke: colours[index % colours.length],
      width: 2,
      spanGaps: true,
      points: { show: data[0].length < 40, size: 5 },
      value: (_, value) => pointed(y)(value),
      ...one,
    }))],
  };
  const plot = new uPlot(options, data, place);
  addEventListener("resize", () => plot.setSize({ width: place.clientWidth, height }));
}

// Whole powers of ten around the values.
function powers(_, low, high) {
  if (!(low > 0)) return [1, 1000];
  return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.0001))];
}

// One line per run and column. Where there are several runs, each has a colour, names carry the
// run's, and all but the first column are dashed.
function overTime(id, columns, options) {
  const tables = [];
  const series = [];
  for (const [number, { name, result }] of runs.entries()) {
    const rows = (result.series ?? []).filter((row) => row.seconds > 0.05);
    const shown = columns.filter(({ read }) => rows.some((row) => read(row) != null));
    if (!shown.length) continue;
    tables.push([rows.map((row) => Math.round((row.at_s + row.seconds / 2) * 10) / 10), ...shown.map(({ read }) => rows.map((row) => read(row) ?? null))]);
    series.push(...shown.map(({ label }, column) => (many
      ? { label: `${name}: ${label}`, stroke: colours[number % colours.length], dash: column ? [6, 4] : [] }
      : { label })));
  }
  draw(id, join(tables), series, { x: { label: "second", show: (second) => `${Math.round(second * 10) / 10} s` }, ...options });
}

// On the axis, every step to the right is a tenth of what lay beyond: 0 %, 90 %, 99 %, 99.9 %.
const nines = (quantile) => -Math.log10(1 - quantile);
const share = (step) => `${Number((100 * (1 - 10 ** -step)).toPrecision(6))} %`;

function curves() {
  const shown = runs.filter(({ result }) => result.latency_curve_us?.length);
  const tables = shown.map(({ result }) => {
    const points = result.latency_curve_us.filter(([quantile]) => quantile > 0);
    return [points.map(([quantile]) => nines(quantile)), points.map(([, micros]) => micros)];
  });
  const longest = Math.max(1, ...tables.map(([x]) => x.at(-1) ?? 0));
  const steps = [0, nines(0.5), 1, 2, 3, 4, 5, 6, 7].filter((step) => step <= longest + 0.01);
  // Where it is narrow, 50 % would touch 0 %.
  const ticks = (width) => steps.filter((step) => Number.isInteger(step) || width / longest > 150);
  draw("curve", join(tables), shown.map(({ name }) => ({ label: many ? name : "latency", points: { show: false } })), {
    x: { label: "share", show: share, scale: { range: [0, longest] } }, y: time, log: true, height: 260, ticks,
  });
}

const first = runs[0].result;
document.getElementById("title").textContent = many
  ? `${runs.length} runs side by side`
  : `${first.scenario} against ${at(first, "target/url")}`;
const whats = runs.map(({ result }) => `${result.scenario} against ${at(result, "target/url")}`);
document.getElementById("subtitle").textContent = many
  ? (whats.every((what) => what === whats[0]) ? whats[0] : whats.map((what, index) => `${runs[index].name}: ${what}`).join(" · "))
  : [at(first, "target/protocol"), ...(at(first, "verdict/measurement") ? [`${three(first.measured_s)} s measured`] : []), `loadgen ${first.loadgen}`].join(", ");
document.getElementById("runs").append(...runs.map(card));
table();
overTime("latency", [
  { label: "p50", read: (row) => row.p50_us },
  { label: "p99", read: (row) => row.p99_us },
], { y: time, log: true, height: 260 });
curves();
overTime("parts", [
  { label: "net p99", read: (row) => row.net_p99_us },
  { label: "own lag p99", read: (row) => row.own_lag_p99_us },
], { y: time, log: true, height: 260 });
overTime("delivered", [{ label: "delivered", read: (row) => row.delivered / row.seconds }], { y: grouped });
overTime("sent", [{ label: "sent", read: (row) => row.sent / row.seconds }], { y: grouped });
overTime("connections", [{ label: "connections", read: (row) => row.connections }], { y: grouped });
overTime("cpu", [
  { label: "generator", read: (row) => row.own_cores },
  { label: "target", read: (row) => row.target_cores },
], { y: (cores) => cores.toFixed(2) });
