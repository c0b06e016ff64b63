// The end of a cable, in a worker: holds the WebSocket of a page, and hands on what comes at most
// once a frame, all of it in one piece. So thousands of messages a second are sixty events for the
// page, and the thread that draws has nothing to do with the network. Used by stage.js.

const FRAME_MS = 16;

let socket;
let waiting = [];
let handedOn = -FRAME_MS;
let timer;

function handOn() {
  clearTimeout(timer);
  timer = undefined;
  handedOn = performance.now();
  if (waiting.length) postMessage({ messages: waiting });
  waiting = [];
}

function open({ url, protocols }) {
  socket = new WebSocket(url, protocols);
  socket.onopen = () => postMessage({ isOpen: true });
  socket.onmessage = ({ data }) => {
    waiting.push(data);
    // What comes alone is not kept waiting.
    const dueMs = FRAME_MS - (performance.now() - handedOn);
    if (dueMs <= 0) handOn();
    else timer ??= setTimeout(handOn, dueMs);
  };
  socket.onclose = ({ code, reason }) => {
    handOn();
    postMessage({ closed: { code, reason } });
  };
}

onmessage = ({ data }) => {
  if (data.url) open(data);
  else if (data.text !== undefined) socket.send(data.text);
  else socket.close(data.code, data.reason);
};
