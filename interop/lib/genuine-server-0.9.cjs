// A genuine server of Socket.IO 0.9, as a process of its own that can be killed: node genuine-server-0.9.cjs PACKAGE PORT

'use strict';

// Node has no such property since version 6.
process.EventEmitter = require('node:events').EventEmitter;

const [name, port] = process.argv.slice(2);
const io = require(name).listen(Number(port), {
  'log': false,
  'transports': ['websocket', 'xhr-polling'],
  // In seconds.
  'heartbeat interval': 1,
  'heartbeat timeout': 3,
  'close timeout': 3,
  'polling duration': 1,
});

function serve(socket) {
  socket.on('message', (message) => (typeof message === 'string' ? socket.send(message) : socket.json.send(message)));
  socket.on('echo', (...args) => socket.emit('echo', ...args));
  socket.on('echo-ack', (...args) => args.pop()(...args));
  // Only a function with parameters makes the server ask for an answer.
  socket.on('ask-me', (x) => socket.emit('question', x, (answer) => socket.emit('answer', answer)));
  socket.on('whoami', (ack) => ack({ transport: io.transports[socket.id]?.name.replace('xhr-', ''), token: socket.handshake.query.token ?? null }));
  socket.on('big', (size, ack) => ack('b'.repeat(size)));
  socket.on('bye', () => socket.disconnect());
  socket.on('no-ack', () => {});
}

io.sockets.on('connection', serve);
io.of('/tenant-1').on('connection', serve);
io.of('/admin').authorization((handshake, done) => done(null, handshake.query.token === 'secret')).on('connection', serve);
// It writes to connections that are gone, after it has taken its listeners off them. In today's Node this ends the process.
io.server.on('connection', (connection) => connection.on('error', () => {}));
io.server.on('listening', () => console.log(`listening ${port}`));
