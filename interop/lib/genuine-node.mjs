// A genuine node of a cluster, as a process of its own, with the events of the conformance server about all nodes:
// node genuine-node.mjs PORT classic|sharded|sharded-static|streams REDIS_PORT[,REDIS_PORT...] [recovery]

import { createRequire } from 'node:module';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter';
import { createClient, createCluster } from 'redis';

const require = createRequire(import.meta.url);
const { Server } = require('sio-4.8.1');
const [port, kind, ports, recovery] = process.argv.slice(2);
const urls = ports.split(',').map((one) => ({ url: `redis://127.0.0.1:${one}` }));

const connect = async () => {
  const client = urls.length > 1 ? createCluster({ rootNodes: urls }) : createClient(urls[0]);
  client.on('error', () => {});
  await client.connect();
  return client;
};
const client = await connect();
const adapters = {
  classic: async () => createAdapter(client, await connect()),
  sharded: async () => createShardedAdapter(client, await connect()),
  'sharded-static': async () => createShardedAdapter(client, await connect(), { subscriptionMode: 'static' }),
  streams: async () => createStreamsAdapter(client),
};
const io = new Server({
  adapter: await adapters[kind](),
  pingInterval: 1000,
  pingTimeout: 1500,
  serveClient: false,
  allowEIO3: true,
  ...(recovery ? { connectionStateRecovery: { maxDisconnectionDuration: 10_000, skipMiddlewares: true } } : {}),
});

io.on('sse', (x) => io.local.emit('sse-heard', x));
io.on('sse-ask', (x, answer) => answer({ node: process.pid, x }));
const tenants = io.of(/^\/tenant-\d+$/);
tenants.on('connection', (socket) => {
  socket.on('cast', (x) => socket.broadcast.emit('cast', x));
});
// The adapter of a namespace hears others from the moment on at which it exists.
io.of('/tenant-1');
io.on('connection', (socket) => {
  // One that comes back has its data.
  if (!socket.recovered) socket.data = { from: 'node' };
  socket.on('whoami', (ack) => ack({ id: socket.id, recovered: socket.recovered, rooms: [...socket.rooms].sort() }));
  socket.on('join', async (room, ack) => { await socket.join(room); ack('ok'); });
  socket.on('leave', async (room, ack) => { await socket.leave(room); ack('ok'); });
  socket.on('echo', (...args) => socket.emit('echo', ...args));
  socket.on('later', (ms, x) => setTimeout(() => io.to(socket.id).emit('later', x), ms));
  socket.on('cast', (x) => socket.broadcast.emit('cast', x));
  socket.on('castall', (x) => io.emit('castall', x));
  socket.on('room', (room, x) => socket.to(room).emit('room', room, x));
  socket.on('roomall', (room, x) => io.to(room).emit('roomall', room, x));
  socket.on('except', (room, without, x) => io.to(room).except(without).emit('except', x));
  socket.on('castlocal', (x) => io.local.emit('castlocal', x));
  socket.on('all-join', (room, other) => io.in(room).socketsJoin(other));
  socket.on('all-leave', (room, other) => io.in(room).socketsLeave(other));
  socket.on('all-disconnect', (room) => io.in(room).disconnectSockets());
  socket.on('sse', (x) => io.serverSideEmit('sse', x));
  socket.on('fetch', async (room, ack) => {
    const sockets = await (room ? io.in(room) : io).fetchSockets();
    const list = sockets.map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms].sort(), data, handshake }));
    ack(list.sort((one, other) => (one.id < other.id ? -1 : 1)));
  });
  socket.on('share', (x, ack) => { socket.data = x; ack('ok'); });
  // A socket, wherever it is.
  const remote = async (id) => (await io.in(id).fetchSockets())[0];
  socket.on('emit-to', async (id, x) => (await remote(id))?.emit('news', x));
  socket.on('join-of', async (id, room) => (await remote(id))?.join(room));
  socket.on('leave-of', async (id, room) => (await remote(id))?.leave(room));
  socket.on('end-of', async (id, close) => (await remote(id))?.disconnect(close));
  socket.on('sse-ask', async (x, ack) => {
    const answers = await io.serverSideEmitWithAck('sse-ask', x).catch((error) => error.responses ?? []);
    ack({ answers: answers.sort((one, other) => one.node - other.node), missing: 0 });
  });
  // A genuine node does not say how many are missing, only that somebody is.
  socket.on('ask-room', (room, ms, x, ack) => {
    io.to(room).timeout(ms).emit('question', x, (error, answers) => ack({ answers, missing: error ? 1 : 0 }));
  });
});
io.listen(Number(port));
console.log(`listening ${port}`);
