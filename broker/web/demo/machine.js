// The server monitor: one message a second, in numbers and as charts of the last two minutes.

import { at, client, colour, make, onTheme, raiseStage, tell, watch } from "/assets/demo/stage.js";

const TOPIC = "demo/machine";
const SECONDS = 120;
const GIB = 1024 ** 3;

const samples = new Map();
const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
const clock = (_, seconds) => seconds.map((at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false }));

function chartOf(id, range, ...colours) {
  const place = at(id);
  const series = colours.map((name) => ({ stroke: () => colour(name), width: 2, points: { show: false } }));
  const chart = new uPlot(
    {
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { range: (_, _low, high) => [high - SECONDS, high] }, y: { range } },
      axes: [{ ...axis, size: 26, space: 90, values: clock }, { ...axis, size: 52 }],
      series: [{}, ...series],
    },
    [[], ...colours.map(() => [])],
    place,
  );
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
  onTheme(() => chart.redraw());
  return chart;
}

const busyChart = chartOf("busy-chart", [0, 100], "--accent");
const memoryChart = chartOf("memory-chart", (_, _low, high) => [0, high * 1.2 || 1], "--accent");
const networkChart = chartOf("network-chart", (_, _low, high) => [0, high * 1.2 || 1], "--accent", "--wait");

const per = (share) => `${Math.round(share * 100)} %`;
const amount = (bytes) => {
  const power = Math.min(3, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1024 ** power).toFixed(power > 1 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB"][power]}`;
};

function takeSample({ data }) {
  samples.set(data.at_ms, data);
  while (samples.size > SECONDS + 1) samples.delete(samples.keys().next().value);
  at("busy").textContent = per(data.busy);
  at("cores").textContent = `of ${data.processors.length}`;
  at("memory").textContent = amount(data.memory_bytes);
  at("memory-total").textContent = `of ${amount(data.memory_total_bytes)}`;
  at("load").textContent = data.load.toFixed(2);
  at("received").textContent = `${amount(data.received_bytes_per_s)}/s`;
  at("sent").textContent = `${amount(data.sent_bytes_per_s)}/s`;
  showBars(data.processors);
  drawCharts();
}

function showBars(processors) {
  const bars = at("bars");
  while (bars.children.length < processors.length) {
    const number = bars.children.length;
    bars.append(make("li", {}, make("label", {}, `${number} `, make("meter", { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0 }))));
  }
  for (const [index, share] of processors.entries()) bars.children[index].querySelector("meter").value = share;
}

function drawCharts() {
  const all = [...samples.values()].sort((a, b) => a.at_ms - b.at_ms);
  const times = all.map(({ at_ms }) => at_ms / 1000);
  busyChart.setData([times, all.map(({ busy }) => busy * 100)]);
  memoryChart.setData([times, all.map(({ memory_bytes }) => memory_bytes / GIB)]);
  networkChart.setData([
    times,
    all.map(({ received_bytes_per_s }) => received_bytes_per_s / 1024),
    all.map(({ sent_bytes_per_s }) => sent_bytes_per_s / 1024),
  ]);
}

raiseStage({ hasRate: false });
const machine = watch(TOPIC, {}, takeSample);
machine
  .ready()
  .then(() => client.history(TOPIC, SECONDS))
  .then(({ messages }) => messages.forEach(takeSample))
  .catch(({ message }) => tell(message));
