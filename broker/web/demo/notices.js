// The notification centre: the history of four topics, then what comes, which after a break is
// everything that was missed. Which were read is remembered by this browser.

import { at, client, make, raiseStage, tell, watch } from "/assets/demo/stage.js";

const CHANNELS = ["orders", "deploys", "alerts", "people"];
const KEPT = 200;
const READ_KEY = "altavoz-demo-read-until-ms";

const inbox = at("inbox");
const notices = new Map();
let readUntil = Number(localStorage.getItem(READ_KEY) ?? 0);

const boxes = CHANNELS.map((name) => {
  const box = make("input", { type: "checkbox", checked: true, value: name });
  box.addEventListener("change", filterNotices);
  at("channels").append(make("label", {}, box, ` ${name}`));
  return box;
});

function takeNotice({ topic, data }) {
  const { number, level, title, text, at_ms } = data;
  // The history and the subscription overlap.
  if (notices.has(number)) return;
  const channel = topic.split("/").at(-1);
  const time = make("time", { dateTime: new Date(at_ms).toISOString() }, new Date(at_ms).toLocaleTimeString([], { hour12: false }));
  const item = make("li", {}, make("span", { className: "mark", ariaHidden: "true" }), make("span", {}, title), time, make("p", {}, `${channel}: ${text}`));
  item.dataset.level = level;
  const notice = { item, channel, at_ms };
  notices.set(number, notice);
  const next = [...inbox.children].find((other) => Number(other.dataset.at) <= at_ms);
  item.dataset.at = at_ms;
  inbox.insertBefore(item, next ?? null);
  while (inbox.children.length > KEPT) inbox.lastChild.remove();
  while (notices.size > 2 * KEPT) notices.delete(notices.keys().next().value);
  filterNotices();
}

function filterNotices() {
  const wanted = new Set(boxes.filter(({ checked }) => checked).map(({ value }) => value));
  let unread = 0;
  for (const { item, channel, at_ms } of notices.values()) {
    item.hidden = !wanted.has(channel);
    item.classList.toggle("unread", at_ms > readUntil);
    if (at_ms > readUntil && !item.hidden) unread += 1;
  }
  at("unread").textContent = unread;
  document.title = `${unread ? `(${unread}) ` : ""}Notification centre · Altavoz`;
}

at("read-all").addEventListener("click", () => {
  readUntil = Math.max(0, ...[...notices.values()].map(({ at_ms }) => at_ms));
  localStorage.setItem(READ_KEY, readUntil);
  filterNotices();
});

raiseStage();
for (const channel of CHANNELS) {
  const topic = `demo/notices/${channel}`;
  watch(topic, {}, takeNotice)
    .ready()
    .then(() => client.history(topic, 50))
    .then(({ messages }) => messages.forEach(takeNotice))
    .catch(({ message }) => tell(message));
}
