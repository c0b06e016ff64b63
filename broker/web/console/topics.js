// The console's topics: searched and paged by the broker, so that a hundred thousand of them cost
// the page no more than the rows that show; one of them followed live, and publishing by hand.

import { named, without } from "/assets/console/cluster.js";
import { OWN, afterTyping, ask, at, bytes, clock, make, row, short, show, sparkline, whole } from "/assets/console/parts.js";

const PAGE = 25;
/** The broker looks at so many thousand topics a request; a search goes on for so many of them. */
const REQUESTS_MAX = 8;
const RATES_KEPT = 30;
const MESSAGES_KEPT = 50;
const VALUE_SHOWN = 600;
const VALUE_IN_LIST = 200;

let client;
/** Where the page begins, where the pages before it began, and where the next one does. */
let from = null;
let before = [];
let next = null;
let seen = new Map();
let search = 0;

export function raiseTopics(its) {
  client = its;
  const again = afterTyping(() => turnTo(null, []));
  for (const id of ["prefix", "filter"]) at(id).addEventListener("input", again);
  at("topics-next").addEventListener("click", () => turnTo(next, [...before, from]));
  at("topics-before").addEventListener("click", () => turnTo(before.at(-1) ?? null, before.slice(0, -1)));
}

function turnTo(start, earlier) {
  [from, before] = [start, earlier];
  seen = new Map();
  return refreshTopics();
}

export async function refreshTopics() {
  const mine = ++search;
  try {
    const found = await find();
    // Of two searches that overlap the later one shows.
    if (mine === search) showTopics(found);
  } catch ({ message }) {
    if (mine === search) at("topics-note").textContent = message;
  }
}

/** A page of topics, from as many of the broker's answers as that takes. */
async function find() {
  const query = new URLSearchParams();
  for (const id of ["prefix", "filter"]) if (at(id).value) query.set(id, at(id).value);
  const topics = [];
  let [after, missing] = [from, []];
  for (let requests = 0; requests < REQUESTS_MAX && topics.length < PAGE; requests += 1) {
    query.set("limit", PAGE - topics.length);
    if (after) query.set("after", after);
    const answer = await ask(`/api/v1/topics?${query}`);
    topics.push(...answer.topics);
    ({ next: after, missing } = answer);
    if (!after) break;
  }
  return { topics, after, missing };
}

function showTopics({ topics, after, missing }) {
  next = after;
  const now = performance.now();
  const known = new Map();
  const stale = [];
  const rows = topics.map((found) => {
    const { topic, node, epoch, seq, subscribers, history, last_published_ms } = found;
    const name = `${node ?? ""} ${topic}`;
    const old = seen.get(name);
    const isSame = old?.epoch === epoch;
    const rates = isSame ? [...old.rates, ((seq - old.seq) * 1000) / (now - old.now)].slice(-RATES_KEPT) : [];
    // What the topic said last stays until the broker has told what it says now.
    const value = make("span", { className: "value", title: old?.value.title ?? "" }, old?.value.textContent ?? "");
    known.set(name, { epoch, seq, now, rates, value });
    if (history.messages && !(isSame && old.seq === seq && old.value.title)) stale.push([topic, value]);
    const link = make("button", { type: "button", onclick: () => follow(topic) }, topic);
    const rate = rates.length ? short.format(rates.at(-1)) : "–";
    const line = rates.length > 1 ? sparkline(rates, RATES_KEPT) : "";
    const when = last_published_ms ? clock(last_published_ms) : "–";
    return row(named(found, link), rate, line, whole.format(seq), whole.format(subscribers), `${history.messages} · ${bytes(history.bytes)}`, when, value);
  });
  seen = known;
  show("topics", rows);
  tellValues(stale);
  at("topics-next").disabled = !next;
  at("topics-before").disabled = !before.length;
  const searched = next ? "None so far; the next page searches on." : "No topic is called so.";
  at("topics-note").textContent = `${topics.length ? "" : searched} ${without(missing)}`.trim();
}

/** Asks for the newest message of the topics that have another one now, a page of them at most. */
function tellValues(stale) {
  if (client.state !== "connected") return;
  for (const [topic, value] of stale) {
    const tell = ({ messages: [newest] }) => {
      if (newest) value.title = value.textContent = textOf(newest, VALUE_IN_LIST);
    };
    // Where this page may not read the topic, the place stays empty.
    client.history(topic, 1).then(tell, () => {});
  }
}

/** What a message says, as far as it can be shown. */
function textOf({ data, bytes: raw }, most) {
  const text = raw ? `${raw.length} bytes` : JSON.stringify(data);
  return text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text;
}

// ---- inspect ----

let followed = null;

function follow(topic) {
  followed?.close();
  at("inspected").textContent = topic;
  at("inspect-topic").value = topic;
  at("publish-topic").value ||= /[+#]/.test(topic) ? "" : topic;
  at("messages").replaceChildren(make("p", {}, "Nothing yet: what is published from now on shows here."));
  let count = 0;
  const options = topic === OWN.topic ? OWN.options : { last: true, mode: "latest", maxRate: 4 };
  followed = client.subscribe(topic, options, (message) => {
    if (!count) at("messages").replaceChildren();
    count += 1;
    at("messages").prepend(make("p", {}, `${message.topic} ${message.seq} ${textOf(message, VALUE_SHOWN)}`));
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
    const { seq, epoch, subscribers } = await client.publish(at("publish-topic").value.trim(), data, { count: true });
    at("publish-result").value = `published as ${seq} of epoch ${epoch}${subscribers === undefined ? "" : `, to ${whole.format(subscribers)} subscriptions`}`;
  } catch (error) {
    at("publish-result").value = error.message;
  }
});
