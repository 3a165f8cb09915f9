// The code that a page needs in addition to a genuine client of 2011: sockets with a memory, which a test controls from
// outside.
//
// Each socket of any generation has one `Memory`. A test can take everything that arrived, in order, with a time limit.
// If an event does not come, the error says what came instead.

(() => {
  const sockets = [];

  class Memory {
    log = [];
    queues = new Map();
    waiters = new Map();

    constructor(name) {
      this.name = name;
    }

    arrived(event, ...args) {
      const known = args.filter((arg) => typeof arg !== 'function');
      this.log.push([event, ...known]);
      const waiter = this.list(this.waiters, event).shift();
      if (waiter) waiter(known);
      else this.list(this.queues, event).push(known);
    }

    take(event, ms) {
      const queue = this.list(this.queues, event);
      if (queue.length > 0) return Promise.resolve(queue.shift());
      return this.within(`event ${event}`, ms, (resolve) => this.list(this.waiters, event).push(resolve));
    }

    within(what, ms, start) {
      return new Promise((resolve, reject) => {
        const tail = () => JSON.stringify(this.log.slice(-4)).slice(0, 400);
        setTimeout(() => reject(new Error(`${this.name}: ${what}: nothing within ${ms} ms; the page saw last ${tail()}`)), ms);
        start(resolve);
      });
    }

    count(event) {
      return this.list(this.queues, event).length;
    }

    list(map, event) {
      if (!map.has(event)) map.set(event, []);
      return map.get(event);
    }
  }

  /** 0.6: one socket, messages without names. */
  function start06({ url, transport, name, resumes }) {
    const { hostname, port } = new URL(url);
    const memory = new Memory(name);
    const own = resumes ? RESUMING : { reconnectionDelay: 100 };
    const socket = new window.io.Socket(hostname, { port, rememberTransport: false, transports: [transport], ...own });
    if (resumes) resume06(socket, memory);
    for (const event of ['connect', 'disconnect', 'message', 'reconnect', 'connect_failed']) {
      socket.on(event, (...args) => memory.arrived(event, ...args));
    }
    socket.connect();
    return {
      memory,
      send: (value) => socket.send(value),
      sessionId: () => socket.transport.sessionid,
      transport: () => socket.transport.type,
      drop() {
        const { transport: { socket: websocket, xhr } } = socket;
        if (websocket) websocket.close();
        else xhr.abort();
      },
      close: () => socket.disconnect(),
    };
  }

  /** The options of a client of 0.6 that comes back quickly, in milliseconds. */
  const RESUMING = {
    reconnectionDelay: 10,
    maxReconnectionAttempts: 1e9,
    connectTimeout: 1500,
    transportOptions: Object.fromEntries(['websocket', 'xhr-polling', 'jsonp-polling'].map((name) => [name, { timeout: 1500 }])),
  };

  /** A session that nobody comes back to for this time has ended, in milliseconds. */
  const SURELY_GONE = 6000;

  /**
   * The client of 0.6 forgets its session when it is disconnected. This page keeps the id, and the client comes back
   * with it. A session that has come back gets no frame with its id, so it is connected when its websocket is open, or
   * when it polls.
   */
  function resume06(socket, memory) {
    const { transport } = socket;
    const { connect, onDisconnect } = transport;
    let id = null;
    let lostAt = 0;
    const giveUp = () => {
      memory.arrived('(refused)', Date.now() - lostAt);
      id = null;
    };
    socket.on('connect', () => { id = transport.sessionid; });
    socket.on('disconnect', () => { lostAt = Date.now(); });
    // The client doubles its delay after each attempt, without a limit.
    socket.on('reconnecting', () => { socket.reconnectionDelay = Math.min(socket.reconnectionDelay, 100); });
    transport.connect = function () {
      if (id && Date.now() - lostAt > SURELY_GONE) giveUp();
      this.sessionid = id;
      // The client never lets go of a websocket that timed out. When it closes later, the client would take this for the
      // end of its present one.
      const old = this.socket;
      if (old) {
        old.onclose = old.onmessage = old.onerror = old.onopen = null;
        old.close();
      }
      const begun = connect.call(this);
      if (id && this.socket) this.socket.onopen = () => this.onConnect();
      else if (id) setTimeout(() => this.onConnect());
      return begun;
    };
    transport.onDisconnect = function () {
      // Only a poll shows the status of a refusal.
      if (id && this.xhr?.readyState === 4 && this.xhr.status === 400) giveUp();
      return onDisconnect.call(this);
    };
  }

  /** 0.7 to 0.9: events, acknowledgements, namespaces. */
  function start09({ url, namespace, query, transport, name, patience, options }) {
    // The option `transports` would be merged into the list of the bundle, element by element. So this line sets the
    // list of the bundle itself.
    window.io.transports = [transport];
    const socket = window.io.connect(`${url}${namespace}${query}`, { 'force new connection': true, 'reconnection delay': 100, ...options });
    // 0.7 treats a transport as lost when the server has sent nothing for the server's close timeout.
    if (patience) socket.on('connecting', () => { socket.socket.closeTimeout = patience; });
    return dress(socket, name);
  }

  function dress(socket, name) {
    const memory = new Memory(name);
    const { $emit } = socket;
    socket.$emit = (...args) => {
      memory.arrived(...args);
      return $emit.apply(socket, args);
    };
    socket.on('question', (...args) => args.pop()(...args));
    const connection = socket.socket;
    return {
      memory,
      emit: (...args) => socket.emit(...args),
      ask: (ms, ...args) => memory.within(`the ack of ${args[0]}`, ms, (resolve) => socket.emit(...args, (...got) => resolve(got))),
      send: (value) => (typeof value === 'string' ? socket.send(value) : socket.json.send(value)),
      sendAsked: (ms, text) => memory.within('the ack of a message', ms, (resolve) => socket.send(text, (...got) => resolve(got))),
      sessionId: () => connection.sessionid,
      transport: () => connection.transport.name,
      also: (namespace) => keep(dress(connection.of(namespace), `${name} ${namespace}`)),
      leave: () => socket.disconnect(),
      drop() {
        const { transport } = connection;
        if (transport.websocket) transport.websocket.close();
        else transport.xhr.abort();
      },
      beacon: () => connection.disconnectSync(),
      async close() {
        // Packets that are sent during a POST wait until the POST has ended. A client that disconnects meanwhile
        // forgets them, and its disconnect packet too.
        for (let pause = 0; pause < 50 && connection.doBuffer; pause += 1) await new Promise((resolve) => setTimeout(resolve, 20));
        // A client without a transport has nothing to disconnect, and throws.
        if (connection.transport) connection.disconnect();
      },
    };
  }

  const keep = (socket) => sockets.push(socket) - 1;

  window.interop = {
    start: (family, options) => keep(family === '0.6' ? start06(options) : start09(options)),
    call: (at, method, args) => sockets[at][method](...args),
    take: (at, event, ms) => sockets[at].memory.take(event, ms),
    count: (at, event) => sockets[at].memory.count(event),
    log: (at) => sockets[at].memory.log,
  };
})();
