// What every demo stands on: the connection, and the knobs that slow it down, pause it or cut it,
// with the broker's accounts of what became of the messages. The pages subscribe through `watch`.

import { connect } from "/altavoz.js";

const CUT_MS = 4000;
const EVENTS_KEPT = 6;
const LADDER = ["all", "latest", "slow", "closed"];
const HINT =
  "Pause this page; let a second connection stop reading for nine seconds; or cut the network for four. " +
  "The numbers say what became of every message for this page.";
const ACCOUNTS = ["matched", "sent", "conflated", "filtered", "dropped", "skipped", "pending"];

/** An element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const at = (id) => document.getElementById(id);

export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Redraws when the reader's system turns light or dark. */
export const onTheme = (draw) =>
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// ---- a cable that can be pulled out ----

const cables = new Set();
let isCut = false;

/** A WebSocket in a worker, which a cut makes fail as a broken network would: without a goodbye. */
class Cable {
  #end = new Worker("/assets/demo/cable.js", { type: "module" });

  constructor(url, protocols) {
    cables.add(this);
    this.#end.onmessage = ({ data }) => this.#take(data);
    if (isCut) setTimeout(() => this.break(), 100);
    else this.#end.postMessage({ url, protocols });
  }

  send(text) {
    this.#end.postMessage({ text });
  }

  close(code, reason) {
    this.#end.postMessage({ code, reason });
  }

  break() {
    this.#end.terminate();
    cables.delete(this);
    this.onclose?.({ code: 1006, reason: "no network" });
  }

  #take({ isOpen, messages = [], closed }) {
    if (isOpen) this.onopen?.();
    for (const data of messages) this.onmessage?.({ data });
    if (!closed) return;
    this.#end.terminate();
    cables.delete(this);
    this.onclose?.(closed);
  }
}

function pullOut() {
  isCut = true;
  for (const cable of cables) cable.break();
}

// ---- the stage ----

export const client = connect("/ws", { WebSocket: Cable });
const watched = [];
let isPaused = false;
let received = 0;

const rate = make("input", { id: "rate", type: "range", min: 1, max: 21, value: 21 });
const rateShown = make("output", { id: "rate-shown", htmlFor: "rate" }, "as fast as it comes");
const pause = make("button", { id: "pause", type: "button", "aria-pressed": "false" }, "Pause");
const slow = make("button", { id: "slow", type: "button" }, "Be slow");
const cut = make("button", { id: "cut", type: "button" }, "Cut the network");
const steps = LADDER.map((step) => make("li", {}, step === "latest" ? "the latest" : step === "slow" ? "the latest, slowly" : step));
const ladder = make("ol", { id: "ladder", "aria-labelledby": "ladder-title" }, ...steps);
const events = make("div", { id: "events", role: "log", "aria-label": "What happened" });
const numbers = Object.fromEntries(
  ["messages / s", "frames / s", ...ACCOUNTS].map((name) => [name, make("dd", { id: name.split(" ")[0] }, "–")]),
);

/** Subscribes, and puts the subscription under the knobs. */
export function watch(filter, options, listener) {
  const subscription = client.subscribe(filter, { ...options, ...chosenRate(options) });
  subscription.on("message", (message) => {
    received += 1;
    listener(message);
  });
  subscription.on("recovered", ({ recovered }) =>
    tell(recovered ? `${filter}: everything that was missed has come` : `${filter}: some of it is lost`),
  );
  subscription.on("gap", ({ topic, from, to, reason }) => tell(`${topic}: ${from} to ${to} will not come (${reason})`));
  subscription.on("mode", ({ topic, now, reason }) => tell(`${topic}: ${now} from here on (${reason})`));
  subscription.on("resumed", ({ skipped }) => tell(`${filter}: ${skipped} messages passed by meanwhile`));
  if (isPaused) subscription.pause();
  const entry = { subscription, options };
  watched.push(entry);
  subscription.on("closed", () => watched.splice(watched.indexOf(entry), 1));
  return subscription;
}

/** Adds a line to what happened. */
export function tell(text) {
  const time = new Date().toLocaleTimeString([], { hour12: false });
  events.prepend(make("p", {}, `${time} ${text}`));
  while (events.children.length > EVENTS_KEPT) events.lastChild.remove();
}

function chosenRate(options) {
  if (options.mode !== "latest" || rate.value === rate.max) return {};
  return { maxRate: Number(rate.value) };
}

rate.addEventListener("input", () => {
  const isFree = rate.value === rate.max;
  rateShown.value = isFree ? "as fast as it comes" : `at most ${rate.value} a second of each topic`;
});
rate.addEventListener("change", () => {
  for (const { subscription, options } of watched) {
    if (options.mode === "latest") subscription.update({ maxRate: undefined, ...chosenRate(options) });
  }
});

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", isPaused);
  pause.textContent = isPaused ? "Go on" : "Pause";
  for (const { subscription } of watched) subscription[isPaused ? "pause" : "resume"]();
  if (isPaused) tell("paused: nothing comes, and nothing is kept");
});

cut.addEventListener("click", () => {
  cut.disabled = true;
  tell(`the network is cut for ${CUT_MS / 1000} s`);
  pullOut();
  setTimeout(() => {
    isCut = false;
    cut.disabled = false;
    client.reconnect();
  }, CUT_MS);
});

// A second connection, in a worker that can stop reading without stopping this page.
slow.addEventListener("click", () => {
  slow.disabled = true;
  const worker = new Worker("/assets/demo/slow.js", { type: "module" });
  climb("all");
  worker.onmessage = ({ data }) => {
    if (data.text) tell(`slow connection: ${data.text}`);
    if (data.step) climb(data.step);
    if (!data.isOver) return;
    worker.terminate();
    slow.disabled = false;
  };
});

function climb(now) {
  for (const [index, step] of steps.entries()) {
    if (LADDER[index] === now) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
}

client.on("state", ({ state, detail, retryInMs }) => {
  document.documentElement.dataset.state = state;
  at("state").textContent = state;
  if (state === "connected") tell("connected");
  if (state === "waiting" && detail) tell(`lost (${detail}), next try in ${(retryInMs / 1000).toFixed(1)} s`);
});
client.on("error", ({ message }) => tell(message));

// ---- the accounts, once a second ----

let frames = 0;
const countFrame = () => {
  frames += 1;
  requestAnimationFrame(countFrame);
};
requestAnimationFrame(countFrame);

let before = { at: performance.now(), received: 0, frames: 0 };
setInterval(async () => {
  const now = { at: performance.now(), received, frames };
  const each = (name) => Math.round(((now[name] - before[name]) * 1000) / (now.at - before.at));
  numbers["messages / s"].textContent = each("received").toLocaleString("en");
  numbers["frames / s"].textContent = each("frames");
  before = now;
  if (document.hidden || client.state !== "connected") return;
  const stats = await client.stats().catch(() => null);
  if (!stats) return;
  for (const name of ACCOUNTS) numbers[name].textContent = stats[name].toLocaleString("en");
}, 1000);

/** Builds the knobs; the slider only where something is asked for as `latest`. */
export function raiseStage({ hasRate = false } = {}) {
  const slider = make("label", {}, "Rate ", rate, " ", rateShown);
  at("stage").append(
    make("h2", { id: "stage-title" }, "Try its connection"),
    make("p", { className: "hint" }, HINT),
    make("div", { className: "knobs" }, ...(hasRate ? [slider] : []), pause, slow, cut),
    make(
      "dl",
      { id: "accounts", className: "numbers" },
      ...Object.entries(numbers).map(([name, shown]) => make("div", {}, make("dt", {}, name), shown)),
    ),
    make("div", { className: "bar" }, make("span", { id: "ladder-title" }, "After “Be slow”, that connection gets"), ladder),
    events,
  );
  const links = [["/", "All demos"], ["/console", "Console"], ["/altavoz.js", "The client library"]];
  const nav = make("nav", { "aria-label": "Elsewhere" }, ...links.map(([href, text]) => make("a", { href }, text)));
  document.body.append(make("footer", {}, nav));
}
