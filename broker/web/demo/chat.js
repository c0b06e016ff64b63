// The chat: what was said comes from the history, who is there from presence, and the name of each
// from a topic of their own, whose last message is kept.

import { at, client, make, raiseStage, tell, watch } from "/assets/demo/stage.js";

const ROOM = "demo/chat/lobby";
const NAMES = "demo/chat/names";
const LINES_KEPT = 200;
const NAME_KEY = "altavoz-demo-name";

const names = new Map();
const members = new Set();
const shown = new Set();
let name = localStorage.getItem(NAME_KEY) ?? `Guest ${Math.floor(100 + Math.random() * 900)}`;

function takeLine({ seq, data }) {
  // The history and the subscription overlap.
  if (shown.has(seq) || typeof data?.text !== "string") return;
  shown.add(seq);
  const lines = at("lines");
  const isAtEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 40;
  lines.append(make("p", {}, make("b", {}, String(data.from)), ` ${data.text}`));
  while (lines.children.length > LINES_KEPT) lines.firstChild.remove();
  if (isAtEnd) lines.scrollTop = lines.scrollHeight;
}

function showMembers() {
  at("count").textContent = members.size;
  const items = [...members].map((session) => {
    const isMine = session === client.session;
    const text = `${names.get(session) ?? "someone"}${isMine ? " (you)" : ""}`;
    return make("li", { className: isMine ? "mine" : "" }, text);
  });
  at("members").replaceChildren(...items);
}

async function askWhoIsThere() {
  const { members: there } = await client.presence(ROOM);
  members.clear();
  for (const { session } of there) members.add(session);
  showMembers();
}

async function tellName() {
  at("me").textContent = name;
  at("name").value = name;
  await client.publish(`${NAMES}/${client.session}`, { name });
}

at("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  at("text").value = "";
  if (!text) return;
  try {
    await client.publish(ROOM, { from: name, text });
  } catch (error) {
    tell(`not sent: ${error.message}`);
    at("text").value = text;
  }
});

at("rename").addEventListener("submit", (event) => {
  event.preventDefault();
  name = at("name").value.trim() || name;
  localStorage.setItem(NAME_KEY, name);
  tellName().catch(({ message }) => tell(message));
});

raiseStage();
const room = watch(ROOM, { presence: true }, takeLine);
room.on("subscribed", async () => {
  try {
    await askWhoIsThere();
    await tellName();
    const { messages } = await client.history(ROOM, 100);
    messages.forEach(takeLine);
  } catch (error) {
    tell(error.message);
  }
});
// Beginnings of another life of the broker are numbered from 1 again.
room.on("recovered", ({ recovered }) => recovered || shown.clear());
room.on("presence", ({ join, leave, joined = [], left = [] }) => {
  for (const { session } of [join, ...joined].filter(Boolean)) members.add(session);
  for (const { session } of [leave, ...left].filter(Boolean)) members.delete(session);
  showMembers();
});
watch(`${NAMES}/+`, { last: true }, ({ topic, data }) => {
  names.set(topic.split("/").at(-1), String(data?.name ?? "someone"));
  showMembers();
});
at("me").textContent = name;
at("name").value = name;
