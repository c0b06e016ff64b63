// Subscribes and publishes with Node's `ws`, and prints every message that comes.
// Arguments: URL, topic, and one or more values to publish, as JSON.

import { once } from 'node:events';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.NODE_TOOLS}/`);
const WebSocket = require('ws');

const [url, topic, ...values] = process.argv.slice(2);
const socket = new WebSocket(url, ['altavoz.v1.json']);
let received = 0;
socket.on('open', () => {
  console.log('subprotocol', socket.protocol);
  socket.send(JSON.stringify({ id: 'sub', op: 'subscribe', topic }));
});
socket.on('message', (data) => {
  console.log(data.toString());
  received += 1;
  if (received === 1) {
    for (const value of values) {
      socket.send(`{"id":"pub","op":"publish","topic":${JSON.stringify(topic)},"data":${value}}`);
    }
  }
  if (received === 1 + 2 * values.length) socket.close(1000);
});
const [code] = await once(socket, 'close');
console.log('closed', code);
