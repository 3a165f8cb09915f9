// A genuine server of Socket.IO for suites of our client, as a process of its own that can be killed:
// node genuine-server.mjs PACKAGE PORT [msgpack|recovery]

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const [name, port, mode] = process.argv.slice(2);
const options = { pingInterval: 1000, pingTimeout: 1500, serveClient: false };
if (mode === 'msgpack') options.parser = require('socket.io-msgpack-parser');
if (mode === 'recovery') options.connectionStateRecovery = { maxDisconnectionDuration: 10_000, skipMiddlewares: true };

const genuine = require(name);
const io = new (genuine.Server ?? genuine)(Number(port), options);

const token = (socket) => socket.handshake.auth?.token ?? socket.handshake.query?.token;

function serve(socket) {
  socket.on('echo', (...args) => socket.emit('echo', ...args));
  socket.on('echo-ack', (...args) => args.pop()(...args));
  socket.on('ask-me', (x) => socket.emit('question', x, (...answer) => socket.emit('answer', ...answer)));
  socket.on('whoami', (ack) => ack({ transport: socket.conn.transport.name, token: token(socket) ?? null }));
  socket.on('big', (size, ack) => ack('b'.repeat(size)));
  socket.on('later', (ms, x) => setTimeout(() => io.to(socket.id).emit('later', x), ms));
  socket.on('bye', () => socket.disconnect());
  socket.on('no-ack', () => {});
}

io.on('connection', serve);
io.of('/tenant-1').on('connection', serve);
io.of('/admin').use((socket, next) => {
  if (token(socket) === 'secret') return next();
  next(Object.assign(new Error('forbidden'), { data: { need: 'secret' } }));
}).on('connection', serve);
console.log(`listening ${port}`);
