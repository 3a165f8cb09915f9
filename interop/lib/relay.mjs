// A network between clients and the server that a test can cut: a port that forwards every connection until it is cut.

import net from 'node:net';
import { once } from 'node:events';
import { port as server } from './target.mjs';

export class Relay {
  #pairs = new Set();
  #listener;

  /** Listens on its own port, and ends with the test. */
  static async start(t, { to = server } = {}) {
    const relay = new Relay();
    relay.#listener = net.createServer((near) => relay.#join(near, net.connect(to, '127.0.0.1')));
    relay.#listener.listen(0, '127.0.0.1');
    await once(relay.#listener, 'listening');
    relay.port = relay.#listener.address().port;
    relay.base = `http://127.0.0.1:${relay.port}`;
    t.after(() => relay.end());
    return relay;
  }

  /** Cuts every connection, and accepts none until `restore`. */
  cut() {
    this.#listener.close();
    for (const pair of this.#pairs) pair.forEach((socket) => socket.destroy());
  }

  async restore() {
    this.#listener.listen(this.port, '127.0.0.1');
    await once(this.#listener, 'listening');
  }

  end() {
    if (this.#listener.listening) this.cut();
  }

  #join(near, far) {
    const pair = [near, far];
    this.#pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.pipe(to);
      from.on('error', () => {}); // followed by close
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  }
}
