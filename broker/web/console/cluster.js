// The console's view of the cluster, as the node that serves it sees it: who is there, for how long,
// and who has fallen silent. A broker that is alone says so. The other parts ask it on which node
// things are.

import { ask, at, duration, make, row, show, whole } from "/assets/console/parts.js";

/** A node that misses a heartbeat, which comes once a second, may be on its way out. */
const SILENT_MS = 2000;

/** The node that serves this page; null if it stands alone. */
let ours = null;

/** Whether this is a thing of the node that serves the page. */
export const isHere = ({ node }) => node === undefined || node === ours;

/** The name of a thing, with the node before it where there are several. */
export const named = ({ node }, name) =>
  node === undefined ? name : make("span", {}, make("span", { className: "node" }, node), name);

/** What to say of nodes that did not answer for their part of a list. */
export const without = (missing) => (missing?.length ? `Without what is on ${missing.join(", ")}, which did not answer.` : "");

export async function refreshCluster() {
  try {
    const { node, others } = await ask("/api/v1/nodes");
    ours = node;
    at("nodes-table").hidden = !node;
    if (!node) return (at("cluster").textContent = "This node stands alone: no backplane is set.");
    const gone = others.filter(({ state }) => state === "gone").length;
    const there = others.length - gone;
    const count = there ? `${whole.format(there + 1)} nodes are there` : "This node is the only one there";
    at("cluster").textContent = `${count}${gone ? `, ${whole.format(gone)} gone` : ""}, as node ${node} sees it.`;
    show("nodes", [row(node, "this node", "–", "–", "–", "–"), ...others.map(rowOf)]);
  } catch ({ message }) {
    at("cluster").textContent = message;
  }
}

function rowOf({ node, state, connections, uptime_s: uptime, silent_ms: silent, run }) {
  const isGone = state === "gone";
  const lamp = make("span", { className: "step" }, state);
  lamp.dataset.step = isGone ? "slow" : silent > SILENT_MS ? "latest" : "all";
  const counts = isGone ? ["–", "–"] : [whole.format(connections), duration(uptime)];
  return row(node, lamp, ...counts, `${(silent / 1000).toFixed(1)} s ago`, make("code", {}, run));
}
