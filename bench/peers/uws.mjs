// uWebSockets.js as a peer of the broker: the part of altavoz.v1.json that the load generator uses,
// over the library's own publish/subscribe. Started by the peers runner as
// `node uws.mjs FOLDER PORT`, where FOLDER holds node_modules.
import { createRequire } from 'node:module';

const [folder, port] = process.argv.slice(2);
const uws = createRequire(`${folder}/`)('uwebsockets');

const PUBLISH = '{"op":"publish","topic":"';
const seqs = new Map();

const app = uws
  .App()
  .ws('/ws', {
    compression: uws.DISABLED,
    maxPayloadLength: 1 << 20,
    maxBackpressure: 256 << 20,
    upgrade(response, request, context) {
      response.upgrade(
        {},
        request.getHeader('sec-websocket-key'),
        request.getHeader('sec-websocket-protocol'),
        request.getHeader('sec-websocket-extensions'),
        context,
      );
    },
    message(socket, bytes) {
      const text = Buffer.from(bytes).toString();
      if (text.startsWith(PUBLISH)) {
        const end = text.indexOf('"', PUBLISH.length);
        const topic = text.slice(PUBLISH.length, end);
        const seq = (seqs.get(topic) ?? 0) + 1;
        seqs.set(topic, seq);
        const data = text.slice(end + '","data":'.length, -1);
        app.publish(topic, `{"topic":"${topic}","seq":${seq},"data":${data}}`);
        return;
      }
      const { id, topic } = JSON.parse(text);
      socket.subscribe(topic);
      socket.send(JSON.stringify({ id, ok: { topic } }));
    },
  })
  .listen('127.0.0.1', Number(port), (listening) => {
    if (!listening) process.exit(1);
  });
