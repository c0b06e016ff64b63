// The npm package `ws` as a peer of the broker: the part of altavoz.v1.json that the load generator
// uses, with a set of sockets per topic. Started by the peers runner as `node ws.mjs FOLDER PORT`,
// where FOLDER holds node_modules.
import { createRequire } from 'node:module';

const [folder, port] = process.argv.slice(2);
const { WebSocketServer } = createRequire(`${folder}/`)('ws');

const PUBLISH = '{"op":"publish","topic":"';
const topics = new Map();

function topicOf(name) {
  let topic = topics.get(name);
  if (!topic) topics.set(name, (topic = { seq: 0, sockets: new Set() }));
  return topic;
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(port),
  path: '/ws',
  perMessageDeflate: false,
  handleProtocols: (offered) => [...offered][0],
});

server.on('connection', (socket) => {
  const mine = new Set();
  socket.on('message', (bytes) => {
    const text = bytes.toString();
    if (text.startsWith(PUBLISH)) {
      const end = text.indexOf('"', PUBLISH.length);
      const name = text.slice(PUBLISH.length, end);
      const topic = topicOf(name);
      topic.seq += 1;
      const data = text.slice(end + '","data":'.length, -1);
      const message = Buffer.from(`{"topic":"${name}","seq":${topic.seq},"data":${data}}`);
      for (const subscriber of topic.sockets) subscriber.send(message, { binary: false });
      return;
    }
    const { id, topic: name } = JSON.parse(text);
    topicOf(name).sockets.add(socket);
    mine.add(name);
    socket.send(JSON.stringify({ id, ok: { topic: name } }));
  });
  socket.on('close', () => mine.forEach((name) => topicOf(name).sockets.delete(socket)));
  socket.on('error', () => socket.terminate());
});
