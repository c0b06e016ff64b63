// The console's connections: all of them page by page, or the slow ones alone, which the broker
// looks for among all; sorted by what a click on a column says.

import { isHere, named, without } from "/assets/console/cluster.js";
import { ask, at, bytes, make, row, show, whole } from "/assets/console/parts.js";

const PAGE = 25;
/** The broker looks at some thousand connections a request; a look goes on for so many of them. */
const REQUESTS_MAX = 4;
const SLOW_MAX = 100;
const STEPS = { all: "all", latest: "the latest", slow: "the latest, slowly" };
/** What a column shows, and what it is sorted by; those of numbers begin with the largest. */
const COLUMNS = [
  ["Session", ({ node = "", session }) => `${node} ${session}`],
  ["User", ({ user }) => user ?? ""],
  ["Address", ({ address }) => address],
  ["Protocol", ({ protocol }) => protocol],
  ["Gets", ({ mode }) => Object.keys(STEPS).indexOf(mode)],
  ["Subscriptions", ({ stats }) => stats.subscriptions],
  ["Sent", ({ stats }) => stats.sent],
  ["Conflated", ({ stats }) => stats.conflated],
  ["Dropped", ({ stats }) => stats.dropped],
  ["Waiting", ({ stats }) => stats.pending_bytes],
  ["Behind", ({ stats }) => stats.behind_ms],
];

let client;
let after = null;
let next = null;
let sorting = { column: 0, isDown: false };
let look = 0;

export function raiseConnections(its) {
  client = its;
  const heads = COLUMNS.map(([name], column) => {
    const button = make("button", { type: "button", onclick: () => sortBy(column) }, name);
    return make("th", {}, button);
  });
  at("connections-head").prepend(...heads);
  at("slow-only").addEventListener("change", () => {
    // Who is furthest behind comes first.
    sorting = at("slow-only").checked ? { column: COLUMNS.length - 1, isDown: true } : { column: 0, isDown: false };
    turnTo(null);
  });
  at("connections-next").addEventListener("click", () => turnTo(next));
  at("connections-first").addEventListener("click", () => turnTo(null));
}

function turnTo(start) {
  after = start;
  return refreshConnections();
}

function sortBy(column) {
  const isDown = sorting.column === column ? !sorting.isDown : column >= 4;
  sorting = { column, isDown };
  refreshConnections();
}

export async function refreshConnections() {
  const mine = ++look;
  try {
    const found = at("slow-only").checked ? await findSlow() : await ask(path({ limit: PAGE, ...(after && { after }) }));
    if (mine === look) showConnections(found);
  } catch ({ message }) {
    if (mine === look) at("connections-note").textContent = message;
  }
}

const path = (query) => `/api/v1/connections?${new URLSearchParams(query)}`;

async function findSlow() {
  const connections = [];
  let [place, missing] = [after, []];
  for (let requests = 0; requests < REQUESTS_MAX && connections.length < SLOW_MAX; requests += 1) {
    const answer = await ask(path({ slow: true, limit: SLOW_MAX - connections.length, ...(place && { after: place }) }));
    connections.push(...answer.connections);
    ({ next: place, missing } = answer);
    if (!place) break;
  }
  return { connections, next: place, missing };
}

function showConnections({ connections, next: following, missing }) {
  next = following;
  const [, value] = COLUMNS[sorting.column];
  const order = (one, other) => (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : 0);
  connections.sort((one, other) => (sorting.isDown ? order(other, one) : order(one, other)));
  show("connections", connections.map(rowOf));
  for (const [column, head] of [...at("connections-head").children].entries()) {
    if (column === sorting.column) head.ariaSort = sorting.isDown ? "descending" : "ascending";
    else head.removeAttribute("aria-sort");
  }
  at("connections-next").disabled = !next;
  at("connections-first").disabled = !after;
  const nobody = at("slow-only").checked ? "Everybody keeps up." : "Nobody is connected.";
  const note = connections.length ? "" : next ? "None so far; the next page searches on." : nobody;
  at("connections-note").textContent = `${note} ${without(missing)}`.trim();
}

function rowOf(connection) {
  const { session, user, address, protocol, mode, subscriptions, stats } = connection;
  const isOurs = isHere(connection) && session === client.session;
  const end = make("button", { type: "button", disabled: isOurs, onclick: () => disconnect(connection) }, isOurs ? "this page" : "Close");
  const step = make("span", { className: "step" }, STEPS[mode]);
  step.dataset.step = mode;
  const counts = [stats.subscriptions, stats.sent, stats.conflated, stats.dropped].map((count) => whole.format(count));
  const cells = row(named(connection, session), user ?? "–", address, protocol, step, ...counts, bytes(stats.pending_bytes), `${whole.format(stats.behind_ms)} ms`, end);
  cells.title = subscriptions.join("\n");
  return cells;
}

async function disconnect({ node, session }) {
  if (!confirm(`Close the connection ${session}${node ? ` of ${node}` : ""}?`)) return;
  try {
    const query = new URLSearchParams({ code: 1001, ...(node && { node }) });
    await ask(`/api/v1/connections/${session}?${query}`, { method: "DELETE" });
    await refreshConnections();
  } catch (error) {
    at("connections-note").textContent = error.message;
  }
}
