// Recovery across nodes, with the streams adapter: two nodes of ours and a genuine one over a Redis of their own. A
// genuine client is cut off at one node and comes back to another.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePorts, OwnServer } from './lib/own-server.mjs';
import { Redis } from './lib/redis.mjs';
import { sleep, until, within } from './lib/wait.mjs';

const require = createRequire(import.meta.url);
const io = require('sioc-4.8.4');
const old = require('sioc-2.5.0');
const genuineNode = fileURLToPath(new URL('lib/genuine-node.mjs', import.meta.url));

const EVENTS = ['castall', 'roomall', 'cast', 'room', 'echo', 'later'];

/** Arguments as they are compared: bytes as hex. The offset behind them is left out. */
const plain = (args) => JSON.stringify(args.filter((arg) => !/^[0-9a-z]+-\d+$/.test(arg)), (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value));

class Wanderer {
  heard = [];

  connects = [];

  constructor(client, url) {
    this.socket = client(url, {
      transports: ['websocket'], forceNew: true, reconnection: true, reconnectionDelay: 300, reconnectionDelayMax: 300, randomizationFactor: 0,
    });
    for (const event of EVENTS) this.socket.on(event, (...args) => this.heard.push(`${event} ${plain(args)}`));
    this.socket.on('connect', () => this.connects.push(Boolean(this.socket.recovered)));
  }

  static async at(url, client = io) {
    const wanderer = new Wanderer(client, url);
    await until(() => wanderer.socket.connected, 'the client connects', 20_000);
    return wanderer;
  }

  ask(...args) {
    return within(new Promise((resolve) => { this.socket.emit(...args, resolve); }), `${args[0]} is answered`, 10_000);
  }

  hears(line, ms = 8000) {
    return until(() => this.heard.includes(line), () => `"${line}"; heard ${JSON.stringify(this.heard)}`, ms);
  }

  /** Cuts the connection. The client comes back to this node. */
  cut(url) {
    this.socket.io.uri = url;
    this.socket.io.engine.close();
  }

  async back(times) {
    await until(() => this.connects.length === times && this.socket.connected, () => `the client is back; ${this.connects}`, 20_000);
  }

  close() {
    this.socket.close();
  }
}

describe('recovery across nodes', () => {
  const endings = [];
  let redis;
  let ours;
  let urls;

  const start = async () => {
    const node = await OwnServer.start({ after: (end) => endings.push(end) }, ['--redis', redis.url, '--adapter', 'streams']);
    return { node, url: `http://127.0.0.1:${node.port + 2}` };
  };

  before(async () => {
    redis = await Redis.start((end) => endings.push(end), ['--appendonly', 'yes', '--appendfsync', 'always']);
    ours = [await start(), await start()];
    const port = await freePorts(1);
    const genuine = spawn(process.execPath, [genuineNode, String(port), 'streams', String(redis.port), 'recovery'], { stdio: ['ignore', 'pipe', 'inherit'] });
    endings.push(() => genuine.kill('SIGKILL'));
    let printed = '';
    genuine.stdout.on('data', (text) => { printed += text; });
    await until(() => printed.includes('listening'), 'the genuine node listens', 30_000);
    urls = { a: ours[0].url, b: ours[1].url, node: `http://127.0.0.1:${port}` };
  }, { timeout: 60_000 });

  after(async () => { for (const end of endings.reverse()) await end(); });

  const pairs = [['a', 'b'], ['b', 'a'], ['a', 'node'], ['node', 'a'], ['a', 'a']];
  for (const [from, to] of pairs) {
    test(`a client goes from ${from} to ${to}`, { timeout: 30_000 }, async () => {
      const wanderer = await Wanderer.at(urls[from]);
      const speaker = await Wanderer.at(urls.b);
      const room = `red-${from}-${to}`;
      await wanderer.ask('join', room);
      await speaker.ask('join', room);
      const { id } = await wanderer.ask('whoami');
      speaker.socket.emit('roomall', room, 'first');
      await wanderer.hears(`roomall ["${room}","first"]`);
      wanderer.socket.emit('echo', 'own');
      await wanderer.hears('echo ["own"]');
      wanderer.socket.emit('later', 100, 'kept');
      await sleep(50);
      wanderer.cut(urls[to]);
      speaker.socket.emit('roomall', room, 'one');
      speaker.socket.emit('roomall', `${room}-other`, 'not for it');
      speaker.socket.emit('room', room, Buffer.from([1, 2, 255]));
      speaker.socket.emit('castall', { two: 2 });
      await wanderer.back(2);
      assert.deepEqual(wanderer.connects, [false, true]);
      const who = await wanderer.ask('whoami');
      assert.equal(who.id, id);
      assert.ok(who.rooms.includes(room), JSON.stringify(who.rooms));
      speaker.socket.emit('roomall', room, 'live');
      await wanderer.hears(`roomall ["${room}","live"]`);
      const counts = (line) => wanderer.heard.filter((one) => one === line).length;
      for (const line of [`roomall ["${room}","one"]`, `room ["${room}","0102ff"]`, 'castall [{"two":2}]', 'later ["kept"]', `roomall ["${room}","live"]`]) {
        assert.equal(counts(line), 1, `${line}: ${JSON.stringify(wanderer.heard)}`);
      }
      const order = ['"one"', '0102ff', '{"two":2}', '"live"'].map((text) => wanderer.heard.findIndex((line) => line.includes(text)));
      assert.deepEqual(order, [...order].sort((x, y) => x - y));
      assert.ok(!wanderer.heard.some((line) => line.includes('not for it')));
      // Once more, with the offset of the other node.
      wanderer.cut(urls.b);
      speaker.socket.emit('roomall', room, 'again');
      await wanderer.back(3);
      assert.deepEqual(wanderer.connects, [false, true, true]);
      await wanderer.hears(`roomall ["${room}","again"]`);
      assert.equal(counts(`roomall ["${room}","again"]`), 1);
      assert.equal(counts(`roomall ["${room}","live"]`), 1);
      wanderer.close();
      speaker.close();
    });
  }

  test('what was said to a room before a client joins it is not sent to it', { timeout: 30_000 }, async () => {
    const wanderer = await Wanderer.at(urls.a);
    const speaker = await Wanderer.at(urls.b);
    speaker.socket.emit('castall', 'to all');
    await wanderer.hears('castall ["to all"]');
    speaker.socket.emit('roomall', 'late', 'before');
    // This answer comes behind it, and has no offset.
    await speaker.ask('join', 'late');
    speaker.socket.emit('roomall', 'late', 'between');
    await speaker.hears('roomall ["late","between"]');
    await sleep(100);
    await wanderer.ask('join', 'late');
    await sleep(100);
    wanderer.cut(urls.b);
    speaker.socket.emit('roomall', 'late', 'behind');
    await wanderer.back(2);
    assert.deepEqual(wanderer.connects, [false, true]);
    await wanderer.hears('roomall ["late","behind"]');
    assert.deepEqual(wanderer.heard.filter((line) => line.startsWith('roomall')), ['roomall ["late","behind"]']);
    wanderer.close();
    speaker.close();
  });

  test('a client of 2.5 hears everything, and is a new client each time', { timeout: 30_000 }, async () => {
    const ancient = await Wanderer.at(urls.a, old);
    const speaker = await Wanderer.at(urls.node);
    speaker.socket.emit('castall', 'for all');
    await ancient.hears('castall ["for all"]');
    ancient.cut(urls.b);
    await ancient.back(2);
    speaker.socket.emit('castall', 'for all again');
    await ancient.hears('castall ["for all again"]');
    assert.deepEqual(ancient.connects, [false, false]);
    ancient.close();
    speaker.close();
  });

  test('a secret is good for one client, and a record that is trimmed away is told', { timeout: 30_000 }, async () => {
    const wanderer = await Wanderer.at(urls.a);
    const speaker = await Wanderer.at(urls.b);
    speaker.socket.emit('castall', 'seen');
    await wanderer.hears('castall ["seen"]');
    await redis.cli('xtrim', 'socket.io', 'MAXLEN', '0');
    wanderer.cut(urls.b);
    await wanderer.back(2);
    assert.deepEqual(wanderer.connects, [false, false]);
    // Guessed: nobody has such a record.
    const thief = io(urls.b, { transports: ['websocket'], forceNew: true, auth: { pid: 'x'.repeat(24), offset: '1700000000000-0' } });
    await until(() => thief.connected, 'the thief is a new client');
    assert.ok(!thief.recovered);
    thief.close();
    // Hostile: a record that is no record.
    await redis.cli('set', 'sio:session:hostile', 'no record');
    const hostile = io(urls.b, { transports: ['websocket'], forceNew: true, auth: { pid: 'hostile', offset: '1700000000000-0' } });
    await until(() => hostile.connected, 'the client with a hostile record is a new client');
    hostile.close();
    wanderer.close();
    speaker.close();
  });

  test('Redis halts: the sockets of a node go on; nothing is lost behind it, also when Redis is killed', { timeout: 60_000 }, async () => {
    const here = await Wanderer.at(urls.a);
    const beside = await Wanderer.at(urls.a);
    const there = await Wanderer.at(urls.b);
    redis.signal('SIGSTOP');
    const begun = Date.now();
    here.socket.emit('castall', 'while halted');
    await beside.hears('castall ["while halted"]', 3000);
    assert.ok(Date.now() - begun < 2000, `it took ${Date.now() - begun} ms`);
    redis.signal('SIGCONT');
    await there.hears('castall ["while halted"]', 15_000);
    await redis.kill();
    here.socket.emit('castall', 'while away');
    await beside.hears('castall ["while away"]', 3000);
    await redis.begin();
    await there.hears('castall ["while away"]', 20_000);
    await sleep(300);
    for (const person of [here, beside, there]) {
      assert.equal(person.heard.filter((line) => line.includes('while halted')).length, 1);
      assert.equal(person.heard.filter((line) => line.includes('while away')).length, 1);
    }
    [here, beside, there].forEach((person) => person.close());
  });

  test('a node is killed: its clients come back to another', { timeout: 30_000 }, async () => {
    const wanderer = await Wanderer.at(urls.a);
    const speaker = await Wanderer.at(urls.b);
    await wanderer.ask('join', 'red');
    await speaker.ask('join', 'red');
    speaker.socket.emit('roomall', 'red', 'before');
    await wanderer.hears('roomall ["red","before"]');
    await sleep(100);
    wanderer.socket.io.uri = urls.b;
    await ours[0].node.end('SIGKILL');
    speaker.socket.emit('roomall', 'red', 'meanwhile');
    await wanderer.back(2);
    assert.deepEqual(wanderer.connects, [false, true]);
    await wanderer.hears('roomall ["red","meanwhile"]');
    wanderer.close();
    speaker.close();
  });
});
