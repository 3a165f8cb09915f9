// socket.io with the events of the comparison: node server.mjs PORT, or bun server.mjs PORT.
// Under Bun, the engine that socket.io offers for it is used.

import { Server } from "socket.io";

const port = Number(process.argv[2]);
if (!Number.isInteger(port)) {
  console.error("usage: server.mjs PORT");
  process.exit(2);
}

const io = new Server();
io.on("connection", (socket) => {
  socket.on("echo", (data, answer) => {
    if (answer) {
      answer(data);
    } else {
      socket.emit("echo", data);
    }
  });
  socket.on("bin", (data) => socket.emit("bin", data));
  socket.on("cast", (data) => io.emit("cast", data));
  socket.on("join", (room) => socket.join(room));
  socket.on("room", (room, data) => io.to(room).emit("room", data));
});

if (process.versions.bun) {
  const { Server: Engine } = await import("@socket.io/bun-engine");
  const engine = new Engine({ path: "/socket.io/" });
  io.bind(engine);
  globalThis.Bun.serve({ port, hostname: "127.0.0.1", ...engine.handler() });
} else {
  const { createServer } = await import("node:http");
  const server = createServer();
  io.attach(server);
  server.listen({ port, host: "127.0.0.1", backlog: 4096 });
}
