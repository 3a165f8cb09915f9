// A cluster over a Redis of its own: two nodes of ours and a genuine one, with clients of several generations spread over
// them. Everything goes in every direction. In its full form it also tries the sharded adapter, on a Redis cluster of
// three, and the streams adapter. SIO_CLUSTER_KINDS names kinds.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Emitter } from '@socket.io/redis-emitter';
import { createClient } from 'redis';
import { freePorts, OwnServer } from './lib/own-server.mjs';
import { Redis } from './lib/redis.mjs';
import { sleep, until, within } from './lib/wait.mjs';

const require = createRequire(import.meta.url);
const genuineNode = fileURLToPath(new URL('lib/genuine-node.mjs', import.meta.url));

/** What a client has heard of these events. */
class Person {
  static EVENTS = ['cast', 'castall', 'room', 'roomall', 'castlocal', 'sse-heard', 'news'];

  heard = [];

  constructor(io, url, name) {
    this.name = name;
    this.socket = io(url, { transports: ['websocket'], forceNew: true, 'force new connection': true, reconnection: false });
    for (const event of Person.EVENTS) this.socket.on(event, (...args) => this.heard.push([event, ...args]));
    this.socket.on('question', (x, answer) => answer(`${this.name}:${x}`));
    this.ended = false;
    this.socket.on('disconnect', () => { this.ended = true; });
  }

  static async connected(io, url, name) {
    const person = new Person(io, url, name);
    await until(() => person.socket.connected, `${name} connects`, 20_000);
    return person;
  }

  emit(...args) {
    this.socket.emit(...args);
  }

  /** The acknowledgement of an event. */
  ask(...args) {
    return within(new Promise((resolve) => { this.socket.emit(...args, (...answer) => resolve(answer)); }), `${this.name}: ${args[0]}`, 15_000);
  }

  async join(...rooms) {
    for (const room of rooms) assert.deepEqual(await this.ask('join', room), ['ok']);
  }

  hears(event, ...args) {
    const wanted = JSON.stringify([event, ...args]);
    return until(() => this.heard.some((one) => JSON.stringify(one) === wanted), () => `${this.name} hears ${wanted}; heard ${JSON.stringify(this.heard)}`, 10_000);
  }

  count(event, ...args) {
    const wanted = JSON.stringify([event, ...args]);
    return this.heard.filter((one) => JSON.stringify(one) === wanted).length;
  }
}

const CLIENTS = ['sioc-4.8.4', 'sioc-2.5.0', 'sioc-1.7.4'].map((name) => ({ name, io: require(name) }));

async function startGenuine(kind, ports, ending) {
  const port = await freePorts(1);
  const child = spawn(process.execPath, [genuineNode, String(port), kind, ports.join(',')], { stdio: ['ignore', 'pipe', 'inherit'] });
  ending(() => child.kill('SIGKILL'));
  let printed = '';
  child.stdout.on('data', (text) => { printed += text; });
  await until(() => printed.includes(`listening ${port}`), 'the genuine node listens', 30_000);
  return { base: `http://127.0.0.1:${port}`, child };
}

const stats = async (base) => (await fetch(`${base}/__stats`)).json();

const KINDS = process.env.SIO_CLUSTER_KINDS ?? (process.env.SIO_FULL ? 'classic,sharded,streams' : 'classic');

for (const kind of KINDS.split(',')) {
  // With streams, the port with recovery of each of our processes is a node of its own.
  const NODES = kind === 'streams' ? 5 : 3;

  describe(`a cluster with the ${kind} adapter`, () => {
    const endings = [];
    const ending = (end) => endings.unshift(end);
    let redis;
    let url;
    let nodes;
    let people;
    let bases;

    before(async () => {
      let ports;
      if (kind === 'sharded') {
        const cluster = await Redis.startCluster(ending);
        ({ url, ports } = cluster);
        redis = cluster.nodes[0];
      } else {
        redis = await Redis.start(ending);
        ({ url } = redis);
        ports = [redis.port];
      }
      const options = ['--redis', url, '--adapter', kind];
      const [one, two, genuine] = await Promise.all([
        OwnServer.start({ after: ending }, options),
        OwnServer.start({ after: ending }, options),
        startGenuine(kind, ports, ending),
      ]);
      nodes = [one, two, genuine];
      bases = nodes.map(({ base }) => base);
      await until(async () => {
        const all = await Promise.all([stats(bases[0]), stats(bases[1])]);
        return all.every(({ nodes: count, pub_sub: { connected } }) => connected && count === NODES);
      }, `our nodes know of ${NODES} nodes`, 30_000);
      people = [];
      for (const base of bases) {
        for (const { name, io } of CLIENTS) people.push(await Person.connected(io, base, `${name} on ${base}`));
      }
    });

    after(async () => {
      people?.forEach(({ socket }) => socket.disconnect());
      for (const end of endings) await end();
    });

    /** One client on each node. */
    const oneEach = () => [people[0], people[3], people[6]];

    test('a broadcast reaches everybody once, from each node', async () => {
      for (const [at, person] of oneEach().entries()) {
        const x = [at, 'é€😀', null, { deep: [1.5, true] }];
        person.emit('castall', x);
        await Promise.all(people.map((other) => other.hears('castall', x)));
      }
      await sleep(50);
      for (const person of people) assert.equal(person.heard.filter(([event]) => event === 'castall').length, 3);
    });

    test('a socket leaves itself out, on every node', async () => {
      for (const [at, person] of oneEach().entries()) {
        person.emit('cast', `from ${at}`);
        await Promise.all(people.filter((other) => other !== person).map((other) => other.hears('cast', `from ${at}`)));
        assert.equal(person.count('cast', `from ${at}`), 0);
      }
    });

    test('rooms have members on every node', async () => {
      await Promise.all(people.filter((_, at) => at % 3 !== 2).map((person) => person.join('blue')));
      const members = people.filter((_, at) => at % 3 !== 2);
      for (const [at, person] of oneEach().entries()) {
        person.emit('room', 'blue', at);
        await Promise.all(members.filter((other) => other !== person).map((other) => other.hears('room', 'blue', at)));
        person.emit('roomall', 'blue', at);
        await Promise.all(members.map((other) => other.hears('roomall', 'blue', at)));
        assert.equal(person.count('room', 'blue', at), 0);
      }
      for (const [at, person] of people.entries()) if (at % 3 === 2) assert.equal(person.count('roomall', 'blue', 1), 0);
    });

    test('bytes go in every direction', async () => {
      for (const [at, person] of oneEach().entries()) {
        person.emit('castall', { at, bytes: Buffer.from([at, 255, 0]) });
        const has = ([event, x]) => event === 'castall' && x?.at === at && Buffer.compare(Buffer.from(x.bytes), Buffer.from([at, 255, 0])) === 0;
        await Promise.all(people.map((other) => until(() => other.heard.some(has), () => `${other.name} hears bytes of ${at}`)));
      }
    });

    test('what is local stays on its node', async () => {
      const [one, two, genuine] = oneEach();
      one.emit('castlocal', 'ours');
      genuine.emit('castlocal', 'theirs');
      await one.hears('castlocal', 'ours');
      await genuine.hears('castlocal', 'theirs');
      await sleep(100);
      assert.equal(two.heard.filter(([event]) => event === 'castlocal').length, 0);
    });

    test('sockets join and leave from outside', async () => {
      const [one, two, genuine] = oneEach();
      await Promise.all([one.join('inside'), two.join('inside'), genuine.join('inside')]);
      one.emit('all-join', 'inside', 'both');
      const size = async (room) => (await two.ask('fetch', room))[0].length;
      await until(async () => await size('both') === 3, 'three in the room', 10_000);
      genuine.emit('all-leave', 'inside', 'both');
      await until(async () => await size('both') === 0, 'nobody in the room', 10_000);
    });

    test('everybody sees the sockets of all nodes', async () => {
      for (const person of oneEach()) {
        const [list, silent] = await person.ask('fetch', null);
        assert.equal(list.length, people.length, `${person.name}: ${JSON.stringify(list)}`);
        assert.equal(silent, undefined);
      }
      const [list] = await people[6].ask('fetch', null);
      for (const { fields } of list) {
        for (const field of ['address', 'auth', 'headers', 'issued', 'query', 'secure', 'time', 'url', 'xdomain']) assert.ok(fields.includes(field), `${field} in ${fields}`);
      }
    });

    test('servers tell servers', async () => {
      const [one, two, genuine] = oneEach();
      one.emit('sse', 'ours');
      await Promise.all([two.hears('sse-heard', 'ours'), genuine.hears('sse-heard', 'ours')]);
      genuine.emit('sse', 'theirs');
      await Promise.all([one.hears('sse-heard', 'theirs'), two.hears('sse-heard', 'theirs')]);
      assert.deepEqual([one.count('sse-heard', 'ours'), genuine.count('sse-heard', 'theirs')], [0, 0]);
    });

    test('servers answer servers', async () => {
      for (const person of oneEach()) {
        const [{ answers, missing }] = await person.ask('sse-ask', 'x');
        assert.deepEqual([answers.map(({ x }) => x), missing], [Array(NODES - 1).fill('x'), 0]);
      }
    });

    test('acknowledgements of a room come from all nodes', async () => {
      const asked = oneEach();
      await Promise.all(asked.map((person) => person.join('quiz')));
      for (const person of asked) {
        const [{ answers }] = await person.ask('ask-room', 'quiz', 5000, 'q');
        assert.deepEqual(answers, asked.map(({ name }) => `${name}:q`).sort(), person.name);
      }
    });

    test('sockets are disconnected from outside', async () => {
      const { io } = CLIENTS[0];
      const guests = await Promise.all(bases.map((base, at) => Person.connected(io, base, `guest ${at}`)));
      await Promise.all(guests.map((guest) => guest.join('out')));
      guests[2].emit('all-disconnect', 'out');
      await until(() => guests.every(({ ended }) => ended), 'the guests are gone', 10_000);
      const more = await Promise.all(bases.map((base, at) => Person.connected(io, base, `guest ${at}`)));
      await Promise.all(more.map((guest) => guest.join('out')));
      more[0].emit('all-disconnect', 'out');
      await until(() => more.every(({ ended }) => ended), 'the guests are gone again', 10_000);
    });

    // The emitter speaks to the classic adapter only.
    if (kind === 'classic') test('an emitter without a server reaches everybody', async () => {
      const client = createClient({ url });
      await client.connect();
      const emitter = new Emitter(client);
      emitter.emit('news', 1, 'two');
      await Promise.all(people.map((person) => person.hears('news', 1, 'two')));
      emitter.in('blue').socketsJoin('green');
      await until(async () => (await people[0].ask('fetch', 'green'))[0].length === 6, 'the emitter moves sockets', 10_000);
      await client.quit();
    });

    // Without one of three servers, a Redis cluster goes on in part.
    if (kind !== 'sharded') test('without Redis, everything local goes on, and afterwards all of it', async () => {
      const [one, two] = oneEach();
      await redis.kill();
      const begun = Date.now();
      one.emit('castall', 'alone');
      await one.hears('castall', 'alone');
      assert.ok(Date.now() - begun < 2000, 'local delivery waits for Redis');
      const [list] = await one.ask('fetch', null);
      assert.ok(list.length >= CLIENTS.length);
      await redis.begin();
      await until(async () => (await Promise.all([stats(bases[0]), stats(bases[1])])).every(({ pub_sub: { connected } }) => connected), 'our nodes are connected again', 20_000);
      one.emit('castall', 'together');
      await two.hears('castall', 'together');
    });
  });
}
