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
  let genuine;
  let urls;

  const start = async () => {
    const node = await OwnServer.start({ after: (end) => endings.push(end) }, ['--redis', redis.url, '--adapter', 'streams']);
    return { node, url: `http://127.0.0.1:${node.port + 2}` };
  };

  before(async () => {
    redis = await Redis.start((end) => endings.push(end), ['--appendonly', 'yes', '--appendfsync', 'always']);
    ours = [await start(), await start()];
    const port = await freePorts(1);
    genuine = spawn(process.execPath, [genuineNode, String(port), 'streams', String(redis.port), 'recovery'], { stdio: ['ignore', 'pipe', 'inherit'] });
    endings.push(() => genuine.kill('SIGKILL'));
    let printed = '';
    genuine.stdout.on('data', (text) => { printed += text; });
    await until(() => printed.includes('listening'), 'the genuine node listens', 30_000);
    urls = { a: ours[0].url, b: ours[1].url, node: `http://127.0.0.1:${port}` };
  }, { timeout: 60_000 });

  after(async () => { for (const end of endings.reverse()) await end(); });

  // From where, to where, and where to then.
  const ways = [['a', 'b', 'node'], ['b', 'a', 'b'], ['a', 'node', 'b'], ['node', 'a', 'node'], ['a', 'a', 'b'], ['b', 'node', 'a'], ['node', 'b', 'a']];
  for (const [from, to, then] of ways) {
    test(`a client goes from ${from} to ${to}, then to ${then}`, { timeout: 40_000 }, async () => {
      const wanderer = await Wanderer.at(urls[from]);
      // One who speaks at a node of ours, and one at the genuine node.
      const speakers = [await Wanderer.at(urls.b), await Wanderer.at(urls.node)];
      const room = `red-${from}-${to}`;
      await wanderer.ask('join', room);
      const { id } = await wanderer.ask('whoami');
      await wanderer.ask('share', { of: room });
      for (const [by, speaker] of speakers.entries()) {
        await speaker.ask('join', room);
        speaker.socket.emit('roomall', room, `first of ${by}`);
        await wanderer.hears(`roomall ["${room}","first of ${by}"]`);
      }
      wanderer.socket.emit('echo', 'own');
      await wanderer.hears('echo ["own"]');
      wanderer.socket.emit('later', 100, 'kept');
      await sleep(50);
      wanderer.cut(urls[to]);
      for (const [by, { socket }] of speakers.entries()) {
        socket.emit('roomall', room, `one of ${by}`);
        socket.emit('roomall', `${room}-other`, 'not for it');
        socket.emit('room', room, Buffer.from([by, 2, 255]));
        socket.emit('castall', { deep: [Buffer.from([by, 3, 254])], two: `of ${by}` });
      }
      await wanderer.back(2);
      assert.deepEqual(wanderer.connects, [false, true]);
      const who = await wanderer.ask('whoami');
      assert.equal(who.id, id);
      assert.ok(who.rooms.includes(room), JSON.stringify(who.rooms));
      const [own] = await wanderer.ask('fetch', id);
      assert.deepEqual([own.id, own.data], [id, { of: room }], 'its data comes with it');
      for (const [by, { socket }] of speakers.entries()) {
        socket.emit('roomall', room, `live of ${by}`);
        await wanderer.hears(`roomall ["${room}","live of ${by}"]`);
      }
      const counts = (line) => wanderer.heard.filter((one) => one === line).length;
      const linesOf = (by) => [
        `roomall ["${room}","first of ${by}"]`, `roomall ["${room}","one of ${by}"]`, `room ["${room}","0${by}02ff"]`,
        `castall [{"deep":["0${by}03fe"],"two":"of ${by}"}]`, `roomall ["${room}","live of ${by}"]`,
      ];
      // Each once, and in the order of its speaker.
      const hasAll = (linesBy) => {
        for (const line of ['later ["kept"]', ...linesBy.flat()]) assert.equal(counts(line), 1, `${line}: ${JSON.stringify(wanderer.heard)}`);
        for (const lines of linesBy) {
          const order = lines.map((line) => wanderer.heard.indexOf(line));
          assert.deepEqual(order, [...order].sort((x, y) => x - y), JSON.stringify(wanderer.heard));
        }
        assert.ok(!wanderer.heard.some((line) => line.includes('not for it')));
      };
      hasAll([linesOf(0), linesOf(1)]);
      // Once more, with the offset of the other node.
      wanderer.cut(urls[then]);
      for (const [by, { socket }] of speakers.entries()) {
        socket.emit('roomall', room, `again of ${by}`);
        socket.emit('room', room, Buffer.from([by, 4, 253]));
      }
      await wanderer.back(3);
      assert.deepEqual(wanderer.connects, [false, true, true]);
      assert.equal((await wanderer.ask('whoami')).id, id);
      for (const [by, { socket }] of speakers.entries()) {
        socket.emit('roomall', room, `last of ${by}`);
        await wanderer.hears(`roomall ["${room}","last of ${by}"]`);
      }
      const andThen = (by) => [`roomall ["${room}","again of ${by}"]`, `room ["${room}","0${by}04fd"]`, `roomall ["${room}","last of ${by}"]`];
      hasAll([[...linesOf(0), ...andThen(0)], [...linesOf(1), ...andThen(1)]]);
      wanderer.close();
      speakers.forEach((speaker) => speaker.close());
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

  test('a genuine node is killed: ours go on, and who had left it before comes back with everything', { timeout: 40_000 }, async () => {
    const [gone, on] = [await Wanderer.at(urls.node), await Wanderer.at(urls.node)];
    const [speaker, beside] = [await Wanderer.at(urls.a), await Wanderer.at(urls.b)];
    const everybody = [gone, on, speaker, beside];
    for (const one of everybody) await one.ask('join', 'killed');
    const { id } = await gone.ask('whoami');
    speaker.socket.emit('roomall', 'killed', 'before');
    for (const one of everybody) await one.hears('roomall ["killed","before"]');
    // A genuine node writes the record of a client when its connection ends, and only then.
    gone.socket.io.reconnectionDelayMax(1500);
    gone.socket.io.reconnectionDelay(1500);
    gone.cut(urls.b);
    await until(async () => (await redis.cli('exists', `sio:session:${gone.socket._pid}`)).includes('1'), 'its record');
    on.socket.emit('roomall', 'killed', Buffer.from([7]));
    await beside.hears('roomall ["killed","07"]');
    on.socket.io.uri = urls.a;
    genuine.kill('SIGKILL');
    const begun = Date.now();
    speaker.socket.emit('roomall', 'killed', 'meanwhile');
    await beside.hears('roomall ["killed","meanwhile"]');
    assert.ok(Date.now() - begun < 2000, `it took ${Date.now() - begun} ms`);
    await gone.back(2);
    await on.back(2);
    assert.deepEqual([gone.connects, on.connects], [[false, true], [false, false]]);
    assert.equal((await gone.ask('whoami')).id, id);
    for (const line of ['["killed","07"]', '["killed","meanwhile"]']) {
      await gone.hears(`roomall ${line}`);
      assert.equal(gone.heard.filter((one) => one === `roomall ${line}`).length, 1, JSON.stringify(gone.heard));
    }
    // A request ends, with the sockets of our nodes, whether the dead node is still counted or not.
    const list = await speaker.ask('fetch', null);
    for (const one of everybody) {
      const own = (await one.ask('whoami')).id;
      assert.ok(list.some((found) => found.id === own), `${own} in ${JSON.stringify(list.map((found) => found.id))}`);
    }
    everybody.forEach((one) => one.close());
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
