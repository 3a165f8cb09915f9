// A load balancer that is not sticky: each request goes to the next server, on a connection of its own. Upgrades, too. A
// server that refuses connections is passed over.

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

const HOP = new Set(['connection', 'keep-alive']);

export class Balancer {
  #ports;
  #next = 0;
  #server;
  #sockets = new Set();

  /** How many requests each port has got. */
  counts = new Map();

  constructor(ports) {
    this.#ports = ports;
  }

  static async start(ending, ports) {
    const balancer = new Balancer(ports);
    const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => balancer.#pass(request, response));
    balancer.#server = server;
    server.on('upgrade', (request, socket, head) => balancer.#upgrade(request, socket, head));
    server.on('connection', (socket) => {
      balancer.#sockets.add(socket);
      socket.on('error', () => {}); // followed by close
      socket.on('close', () => balancer.#sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    balancer.base = `http://127.0.0.1:${server.address().port}`;
    ending(() => balancer.end());
    return balancer;
  }

  end() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The next port that is not among these. */
  #turn(dead) {
    if (dead.includes(this.#ports[this.#next % this.#ports.length])) this.#next += 1;
    const port = this.#ports[this.#next % this.#ports.length];
    this.#next += 1;
    this.counts.set(port, (this.counts.get(port) ?? 0) + 1);
    return port;
  }

  async #pass(request, response) {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return;
    }
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP.has(name)));
    this.#attempt(request, response, headers, Buffer.concat(chunks));
  }

  #attempt(request, response, headers, body, dead = []) {
    const { method, url } = request;
    const port = this.#turn(dead);
    const onward = http.request({ host: '127.0.0.1', port, method, path: url, headers, agent: false });
    let answered = false;
    let connected = false;
    onward.on('socket', (socket) => socket.on('connect', () => { connected = true; }));
    onward.on('response', (answer) => {
      answered = true;
      const fields = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP.has(name)));
      response.writeHead(answer.statusCode, fields);
      answer.on('error', () => response.destroy());
      answer.on('aborted', () => response.destroy());
      answer.pipe(response);
    });
    onward.on('error', () => {
      if (!connected && dead.length + 1 < this.#ports.length) return this.#attempt(request, response, headers, body, [...dead, port]);
      if (answered) return response.destroy();
      // What balancers say of a server that has gone in the middle of a request.
      return response.writeHead(502).end();
    });
    response.on('close', () => onward.destroy());
    onward.end(body);
  }

  #upgrade(request, near, head, dead = []) {
    const port = this.#turn(dead);
    const far = net.connect(port, '127.0.0.1');
    let open = false;
    far.on('connect', () => {
      open = true;
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
      far.write(`${lines.join('\r\n')}\r\n\r\n`);
      far.write(head);
      near.pipe(far);
      far.pipe(near);
    });
    far.on('error', () => {}); // followed by close
    far.on('close', () => {
      if (!open && dead.length + 1 < this.#ports.length) return this.#upgrade(request, near, head, [...dead, port]);
      return near.destroy();
    });
    near.on('close', () => far.destroy());
  }
}
