// A client that does not read for a while, in a worker of its own: what it subscribes to is more
// than the network in between can hold, so the broker takes it down the ladder. Then it reads
// again, and tells the page what it was told. Started by stage.js.

import { connect } from "/altavoz.js";

const ASLEEP_MS = 9000;
const OVER_AFTER_MS = 6000;
/** From when it reads again: a busy machine takes its time to bring it all. */
const OVER_AT_LATEST_MS = 30_000;

const client = connect("/ws", { silenceMs: 60_000 });
const hose = client.subscribe("demo/firehose");
let gaps = 0;
let missed = 0;
let over;
hose.on("mode", ({ now, reason }) => {
  postMessage({ step: now, text: now === "all" ? `caught up, all of it again; ${missed} messages were left out` : `${now} from here on (${reason})` });
  if (now === "all") endIn(OVER_AFTER_MS);
});
hose.on("gap", ({ from, to }) => {
  gaps += 1;
  missed += to - from + 1;
  if (gaps === 1) postMessage({ text: `the first gap: ${from} to ${to} will not come` });
});
client.on("state", ({ state, detail }) => {
  if (state !== "waiting") return;
  postMessage({ step: "closed", text: `closed with ${detail}`, isOver: true });
});

await hose.ready();
postMessage({ text: `reads nothing for ${ASLEEP_MS / 1000} s, at 1.6 MB a second` });
setTimeout(() => {
  sleep(ASLEEP_MS);
  postMessage({ text: "reads again" });
  endIn(OVER_AT_LATEST_MS);
}, 200);

function endIn(ms) {
  clearTimeout(over);
  over = setTimeout(() => postMessage({ text: "is closed", isOver: true }), ms);
}

/** Stops this thread, its socket with it. */
function sleep(ms) {
  if (globalThis.crossOriginIsolated) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    return;
  }
  const end = performance.now() + ms;
  while (performance.now() < end);
}
