// Socket.IO as a peer of the broker, with its own rooms: `subscribe` joins one and is acknowledged,
// `publish` sends to all in it. Over WebSocket alone, as its own protocol. Started by the peers runner
// as `node socketio.mjs FOLDER PORT`, where FOLDER holds node_modules.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const [folder, port] = process.argv.slice(2);
const { Server } = createRequire(`${folder}/`)('socket.io');

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });

io.on('connection', (socket) => {
  socket.on('subscribe', (topic, done) => {
    socket.join(topic);
    done();
  });
  socket.on('publish', (topic, data) => io.to(topic).emit('message', topic, data));
});

http.listen(Number(port), '127.0.0.1');
