// Sessions without sticky load balancing: two nodes of ours behind a balancer that sends each request to the next node, so
// that every second request of a client comes to the wrong one. Genuine clients of all generations that poll. SIO_FULL also
// tries the sharded and the streams adapter; SIO_CLUSTER_KINDS names kinds.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { Balancer } from './lib/balancer.mjs';
import { sharedBrowser } from './lib/browser.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { connectOld, openOldPage } from './lib/page-peer.mjs';
import { Redis } from './lib/redis.mjs';
import { sleep, until, within } from './lib/wait.mjs';

const require = createRequire(import.meta.url);
const browser = sharedBrowser();

/** How many numbered events go in each direction. */
const EVENTS = 200;
const NUMBERS = Array.from({ length: EVENTS }, (_, at) => at);

const MODERN = [
  ['sioc-4.8.4', ['polling']],
  ['sioc-4.8.4', ['polling', 'websocket']],
  ['sioc-2.5.0', ['polling']],
  ['sioc-2.5.0', ['polling', 'websocket']],
  ['sioc-1.7.4', ['polling']],
];
const OLD = [{ version: '0.9.17', family: '0.9' }, { version: '0.6.18', family: '0.6' }];

const stats = async ({ base }) => (await fetch(`${base}/__stats`)).json();

/** Connects a genuine client through the balancer, which comes back by itself. */
async function connect(t, name, transports, url) {
  const io = require(name);
  const socket = io(url, { transports, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500 });
  t.after(() => socket.disconnect());
  socket.heard = [];
  for (const event of ['echo', 'burst', 'binary']) socket.on(event, (...args) => socket.heard.push([event, ...args]));
  await until(() => socket.connected, () => `${name} over ${transports} connects`, 10_000);
  return socket;
}

const ask = (socket, ...args) => within(new Promise((resolve) => { socket.emit(...args, (...answer) => resolve(answer)); }), args[0], 10_000);

const heardOf = (socket, event) => socket.heard.filter(([name]) => name === event).map(([, ...args]) => args);

const KINDS = process.env.SIO_CLUSTER_KINDS ?? (process.env.SIO_FULL ? 'classic,sharded,streams' : 'classic');

for (const kind of KINDS.split(',')) {
  describe(`a balancer without sticky sessions, with the ${kind} adapter`, { concurrency: 1 }, () => {
    const endings = [];
    const ending = (end) => endings.unshift(end);
    let redis;
    let nodes;
    let balancer;

    const knowEachOther = () => until(async () => {
      const all = await Promise.all(nodes.map(stats));
      // With streams, the port with recovery is one more node.
      return all.every(({ pub_sub: { connected, relays } }) => connected && relays.nodes >= (kind === 'streams' ? 3 : 1));
    }, 'the nodes know each other', 20_000);

    before(async () => {
      let url;
      if (kind === 'sharded') {
        const cluster = await Redis.startCluster(ending);
        ({ url } = cluster);
        [redis] = cluster.nodes;
      } else {
        redis = await Redis.start(ending);
        ({ url } = redis);
      }
      const options = ['--redis', url, '--adapter', kind, '--without-sticky'];
      nodes = await Promise.all([1, 2].map(() => OwnServer.start({ after: ending }, options)));
      balancer = await Balancer.start(ending, nodes.map(({ port }) => port));
      await knowEachOther();
    });

    after(async () => {
      for (const end of endings) await end();
    });

    for (const [name, transports] of MODERN) {
      test(`${name} over ${transports.join(' and ')}`, async (t) => {
        const before = await stats(nodes[0]);
        const socket = await connect(t, name, transports, balancer.base);
        assert.deepEqual(await ask(socket, 'echo-ack', 'é€😀', { a: [1, null] }), ['é€😀', { a: [1, null] }]);
        for (const number of NUMBERS) socket.emit('echo', number);
        socket.emit('burst', EVENTS, 20);
        await until(() => socket.heard.length >= 2 * EVENTS, () => `everything comes back; ${socket.heard.length} have`, 20_000);
        assert.deepEqual(heardOf(socket, 'echo').map(([number]) => number), NUMBERS);
        assert.deepEqual(heardOf(socket, 'burst').map(([number]) => number), NUMBERS);
        const bytes = Buffer.from(Array.from({ length: 300 }, (_, at) => at % 256));
        socket.emit('binary', bytes);
        await until(() => heardOf(socket, 'binary').length === 1, 'bytes come back', 10_000);
        const [[{ n, rev }]] = heardOf(socket, 'binary');
        assert.equal(n, 300);
        assert.equal(Buffer.compare(Buffer.from(rev), Buffer.from(bytes).reverse()), 0);
        const [large] = await ask(socket, 'big', 300_000);
        assert.equal(large.length, 300_000);
        assert.deepEqual(await ask(socket, 'echo-ack', 'x'.repeat(200_000)).then(([text]) => text.length), 200_000);
        if (transports.includes('websocket')) {
          const engine = socket.io.engine;
          await until(() => (engine.transport.name ?? engine.transport.query?.transport) === 'websocket', 'the upgrade', 10_000);
          assert.deepEqual(await ask(socket, 'echo-ack', 'upgraded'), ['upgraded']);
        } else {
          const [one, two] = await Promise.all(nodes.map(stats));
          const relays = one.pub_sub.relays.out + two.pub_sub.relays.out;
          assert.ok(relays - before.pub_sub.relays.out > 3, `${relays} requests were passed on`);
        }
      });
    }

    for (const release of OLD) {
      test(`${release.version} over xhr-polling`, async (t) => {
        const page = await openOldPage(t, browser, release, { origin: balancer.base });
        const peer = await connectOld(t, page, release, 'xhr-polling', { url: balancer.base });
        if (release.family === '0.9') {
          assert.deepEqual(await peer.ask('echo-ack', 'é€😀', { a: [1] }), ['é€😀', { a: [1] }]);
          for (const number of NUMBERS) await peer.emit('echo', number);
          assert.deepEqual((await peer.takeAll('echo', EVENTS)).map(([number]) => number), NUMBERS);
          await peer.emit('burst', EVENTS, 20);
          assert.deepEqual((await peer.takeAll('burst', EVENTS)).map(([number]) => number), NUMBERS);
        } else {
          for (const number of NUMBERS) await peer.send({ number });
          assert.deepEqual((await peer.takeAll('message', EVENTS)).map(([{ number }]) => number), NUMBERS);
        }
      });
    }

    /** The node that has the only session. */
    const owner = async () => {
      const counts = await until(async () => {
        const all = await Promise.all(nodes.map(stats));
        return all.reduce((sum, { sessions }) => sum + sessions, 0) === 1 && all.map(({ sessions }) => sessions);
      }, 'one session is left', 30_000);
      return nodes[counts.indexOf(1)];
    };

    test('the node of a session is killed, and its client comes back by itself', async (t) => {
      const socket = await connect(t, 'sioc-4.8.4', ['polling'], balancer.base);
      const { id } = socket;
      const killed = await owner();
      await sleep(300); // a poll is held
      let gone = false;
      socket.on('disconnect', () => { gone = true; });
      const start = Date.now();
      await killed.end('SIGKILL');
      await until(() => gone, 'the client notices', 5_000);
      const noticed = Date.now() - start;
      await until(() => socket.connected && socket.id !== id, 'the client is back', 10_000);
      assert.ok(noticed < 4_000, `noticed after ${noticed} ms`);
      assert.deepEqual(await ask(socket, 'echo-ack', 'again'), ['again']);
      await killed.begin();
      await knowEachOther();
      assert.deepEqual(await ask(socket, 'echo-ack', 'both are there'), ['both are there']);
    });

    // A Redis cluster of which one server is away is another story.
    if (kind !== 'sharded') test('Redis is away: clients are told, and come back when it does', async (t) => {
      const socket = await connect(t, 'sioc-4.8.4', ['polling'], balancer.base);
      let gone = false;
      socket.on('disconnect', () => { gone = true; });
      await redis.kill();
      await until(() => gone, 'the client is told', 5_000);
      await redis.begin();
      await knowEachOther();
      await until(() => socket.connected, 'the client is back', 10_000);
      assert.deepEqual(await ask(socket, 'echo-ack', 'again'), ['again']);
    });
  });
}
