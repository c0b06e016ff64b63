// The whiteboard: pieces of line, a few a second from each pen, drawn on every screen as they come.
// Who comes later draws the history first.

import { at, client, raiseStage, tell, watch } from "/assets/demo/stage.js";

const TOPIC = "demo/board/lines";
const SEND_EVERY_MS = 50;
const POINTS_MAX = 200;
const KEY_STEP = 10;

const canvas = at("canvas");
const paper = canvas.getContext("2d");
const pen = crypto.randomUUID().slice(0, 8);
const seenPens = new Map();
let waiting = [];
let drawn = 0;

paper.lineWidth = 3;
paper.lineCap = paper.lineJoin = "round";

function takePiece({ seq, data }) {
  if (seq <= drawn) return;
  drawn = seq;
  if (data?.wipe) {
    paper.clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  if (!Array.isArray(data?.points)) return;
  seenPens.set(data.pen, Date.now());
  // One's own are there already.
  if (data.pen !== pen) stroke(data.points, data.hue);
}

function stroke(points, hue) {
  paper.strokeStyle = `hsl(${Number(hue)} 75% 42%)`;
  paper.beginPath();
  for (const point of points) paper.lineTo(Number(point?.[0]), Number(point?.[1]));
  paper.stroke();
}

// ---- drawing ----

let last = null;

const placeOf = (event) => {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [Math.round((event.clientX - box.left) * scale), Math.round((event.clientY - box.top) * scale)];
};

function moveTo(point) {
  if (last) {
    stroke([last, point], at("hue").value);
    if (waiting.length === 0) waiting.push(last);
    if (waiting.length < POINTS_MAX) waiting.push(point);
  }
  last = point;
}

function send() {
  if (waiting.length < 2) return;
  const points = waiting;
  waiting = [];
  client.publish(TOPIC, { pen, hue: Number(at("hue").value), points }).catch(({ message }) => tell(`not sent: ${message}`));
}
setInterval(send, SEND_EVERY_MS);

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = placeOf(event);
});
canvas.addEventListener("pointermove", (event) => {
  if (last && event.buttons) moveTo(placeOf(event));
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    send();
    last = null;
  });
}
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
  if (event.key === " ") last = null;
  if (!step && event.key !== " ") return;
  event.preventDefault();
  if (!step) return;
  const [x, y] = last ?? [500, 312];
  last = [x, y];
  moveTo([x + step[0] * KEY_STEP, y + step[1] * KEY_STEP]);
});
at("wipe").addEventListener("click", () => {
  client.publish(TOPIC, { wipe: true }).catch(({ message }) => tell(message));
});

setInterval(() => {
  const recent = [...seenPens.values()].filter((time) => Date.now() - time < 5000).length;
  at("pens").textContent = recent === 1 ? "1 pen is drawing" : `${recent} pens are drawing`;
}, 1000);

raiseStage();
// The history first, so that lines lie over each other as they were drawn; what comes meanwhile is
// in it.
const { messages, epoch, seq } = await client.history(TOPIC, 1000);
messages.forEach(takePiece);
drawn = Math.max(drawn, seq);
const lines = watch(TOPIC, { since: { epoch, seq } }, takePiece);
lines.on("recovered", ({ recovered }) => {
  if (!recovered) drawn = 0;
});
