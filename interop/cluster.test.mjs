// A cluster over a Redis of its own: two nodes of ours and a genuine one, with clients of 4.8, 2.5 and 1.7 on each of them,
// and of 0.9 and 0.6 on ours, which genuine nodes of today cannot serve. Everything goes in every direction: from ours to
// the genuine node, back, and between ours. In its full form (`cargo xtask interop cluster`) it also tries the sharded adapter, with and without channels
// of rooms, on a Redis cluster of three, and the streams adapter. SIO_CLUSTER_KINDS names kinds.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createClient } from 'redis';
import { sharedBrowser } from './lib/browser.mjs';
import { everybodyOn, legible, ModernPerson, OldPerson, ROOM_OF_06 } from './lib/cluster-people.mjs';
import { GenuineEmitter, OurEmitter } from './lib/emitters.mjs';
import { freePorts, OwnServer } from './lib/own-server.mjs';
import { Redis } from './lib/redis.mjs';
import { sleep, until } from './lib/wait.mjs';

const genuineNode = fileURLToPath(new URL('lib/genuine-node.mjs', import.meta.url));
const browser = sharedBrowser();

async function startGenuine(kind, ports, ending) {
  const port = await freePorts(1);
  const child = spawn(process.execPath, [genuineNode, String(port), kind, ports.join(',')], { stdio: ['ignore', 'pipe', 'inherit'] });
  ending(() => child.kill('SIGKILL'));
  let printed = '';
  child.stdout.on('data', (text) => { printed += text; });
  await until(() => printed.includes(`listening ${port}`), 'the genuine node listens', 30_000);
  return `http://127.0.0.1:${port}`;
}

const stats = async (base) => (await fetch(`${base}/__stats`)).json();
const all = (people, act) => Promise.all(people.map(act));
const sorted = (values) => values.map((value) => JSON.stringify(legible(value))).sort();
const BYTES = Buffer.from([0, 1, 2, 0xfd, 0xff]);

const KINDS = process.env.SIO_CLUSTER_KINDS ?? (process.env.SIO_FULL ? 'classic,sharded,sharded-static,streams' : 'classic');

for (const kind of KINDS.split(',')) {
  const isSharded = kind.startsWith('sharded');
  // With streams, the port with recovery of each of our processes is a node of its own.
  const NODES = kind === 'streams' ? 5 : 3;

  describe(`a cluster with the ${kind} adapter`, () => {
    const endings = [];
    const ending = (end) => endings.unshift(end);
    let redis;
    let url;
    let bases;
    /** Clients of 4.8, 2.5 and 1.7 on the nodes 0, 1 (ours) and 2 (genuine); then those of 0.9 and 0.6. */
    let people;
    let emitters;

    before(async () => {
      let ports;
      if (isSharded) {
        const cluster = await Redis.startCluster(ending);
        ({ url, ports } = cluster);
      } else {
        redis = await Redis.start(ending);
        ({ url } = redis);
        ports = [redis.port];
      }
      const options = ['--redis', url, '--adapter', kind];
      const started = await Promise.all([
        OwnServer.start({ after: ending }, options),
        OwnServer.start({ after: ending }, options),
        startGenuine(kind, ports, ending),
      ]);
      bases = started.map((one) => one.base ?? one);
      await until(async () => {
        const both = await Promise.all([stats(bases[0]), stats(bases[1])]);
        return both.every(({ nodes: count, pub_sub: { connected } }) => connected && count === NODES);
      }, `our nodes know of ${NODES} nodes`, 30_000);
      people = await everybodyOn({ after: ending }, browser, bases, 2);
      emitters = [new OurEmitter(url, kind)];
      // The genuine emitter speaks to the classic adapter only.
      if (kind === 'classic') emitters.push(await GenuineEmitter.connected(url));
      ending(() => all(emitters, (emitter) => emitter.close()));
    });

    after(async () => {
      for (const person of people ?? []) await person.close();
      for (const end of endings) await end();
    });

    /** One client on each node. */
    const oneEach = () => [people[0], people[4], people[8]];
    const of06 = () => people.filter(({ generation }) => generation === '0.6');
    const of09 = () => people.filter(({ generation }) => generation === '0.9');
    /** Who may speak: a client on each node, and one of 0.9. */
    const speakers = () => [...oneEach(), of09()[1]];
    const ids = async (person, room) => (await person.ask('fetch', room))[0].map(({ id }) => id);
    const size = async (person, room) => (await ids(person, room)).length;

    /** Puts everybody of a list into a room. Clients of 0.6 cannot ask for this, so a genuine node does it for them. */
    const gather = async (room, members) => {
      await all(members.filter(({ generation }) => generation !== '0.6'), (person) => person.join(room));
      if (!members.some(({ generation }) => generation === '0.6')) return;
      people[6].emit('all-join', ROOM_OF_06, room);
      await until(async () => await size(people[6], room) === members.length, `${members.length} in ${room}`, 10_000);
    };

    test('our nodes count nodes and their own sessions', async () => {
      const counts = await all(bases.slice(0, 2), stats);
      for (const { sessions, pub_sub } of counts) assert.deepEqual([sessions, pub_sub.dropped], [5, 0]);
    });

    test('a broadcast reaches everybody once, from each node', async () => {
      for (const [at, person] of speakers().entries()) {
        const x = [at, 'é€😀', null, { deep: [1.5, true] }];
        await person.emit('castall', x);
        await all(people, (other) => other.hears('castall', x));
      }
      await sleep(50);
      for (const person of people) assert.equal((await person.heard()).filter(([event]) => event === 'castall').length, 4, person.name);
    });

    test('a socket leaves itself out, on every node', async () => {
      for (const [at, person] of speakers().entries()) {
        await person.emit('cast', `from ${at}`);
        await all(people.filter((other) => other !== person), (other) => other.hears('cast', `from ${at}`));
        assert.equal(await person.count('cast', `from ${at}`), 0);
      }
    });

    test('clients of 0.6 hear each other across nodes, and everybody hears them', async () => {
      const [one, two] = of06();
      for (const [at, person] of of06().entries()) {
        await person.peer.send(`castall:I am ${at}`);
        await all(people, (other) => other.hears('message', `castall:I am ${at}`));
      }
      await sleep(50);
      for (const person of people) assert.equal((await person.heard()).filter(([event]) => event === 'message').length, 2, person.name);
      await one.peer.send('cast:hello');
      await two.hears('message', 'cast:hello');
      await two.peer.send('cast:and you');
      await one.hears('message', 'cast:and you');
      assert.equal(await one.count('message', 'cast:hello'), 0);
    });

    test('rooms have members on every node', async () => {
      const outside = [people[2], people[5], people[7]];
      const members = people.filter((person) => !outside.includes(person));
      await gather('blue', members);
      for (const [at, person] of speakers().entries()) {
        await person.emit('room', 'blue', at);
        await all(members.filter((other) => other !== person), (other) => other.hears('room', 'blue', at));
        await person.emit('roomall', 'blue', at);
        await all(members, (other) => other.hears('roomall', 'blue', at));
        assert.equal(await person.count('room', 'blue', at), 0, person.name);
      }
      for (const person of outside) assert.equal((await person.heard()).filter(([event]) => event.startsWith('room')).length, 0, person.name);
      for (const person of members) assert.equal((await person.heard()).filter(([event]) => event === 'roomall').length, 4, person.name);
      // A room is left, and the others stay.
      assert.deepEqual(await people[0].ask('leave', 'blue'), ['ok']);
      await people[8].emit('roomall', 'blue', 'later');
      await all(members.filter((other) => other !== people[0]), (other) => other.hears('roomall', 'blue', 'later'));
      assert.equal(await people[0].count('roomall', 'blue', 'later'), 0);
      await people[0].join('blue');
    });

    test('members of another room are left out, on every node', async () => {
      const away = [people[1], people[3], people[8], ...of09()];
      const crowd = people;
      await gather('crowd', crowd);
      await all(away, (person) => person.join('away'));
      for (const [at, person] of [people[0], people[4], people[6]].entries()) {
        await person.emit('except', 'crowd', 'away', at);
        await all(crowd.filter((other) => !away.includes(other)), (other) => other.hears('except', at));
      }
      await sleep(50);
      for (const person of away) assert.equal((await person.heard()).filter(([event]) => event === 'except').length, 0, person.name);
    });

    test('bytes go in every direction', async () => {
      for (const [at, person] of oneEach().entries()) {
        person.emit('castall', { at, deep: [BYTES, { again: BYTES }] });
        await all(people, (other) => other.hears('castall', { at, deep: [BYTES, { again: BYTES }] }));
        person.emit('roomall', 'blue', BYTES);
      }
      const members = people.filter((person) => ![people[2], people[5], people[7]].includes(person));
      await all(members, (person) => until(async () => await person.count('roomall', 'blue', BYTES) === 3, () => `${person.name} hears bytes of three`));
    });

    test('clients of every generation are heard from every node, with events to all, to rooms and with bytes', async () => {
      // Clients of 0.6 have no events; they hear all of these.
      const talkers = people.filter(({ generation }) => generation !== '0.6');
      const outside = [people[2], people[5], people[7]];
      const members = people.filter((person) => !outside.includes(person));
      for (const person of talkers) {
        await person.emit('castall', `${person.name} to all`);
        await person.emit('roomall', 'blue', `${person.name} to blue`);
        await person.emit('cast', `${person.name} to the others`);
        // In pages of 0.9 there are no bytes.
        if (person.generation === 'modern') person.emit('castall', { by: person.name, bytes: BYTES });
      }
      // One after the other: each node's words come in their order, so mostly the last ones are waited for.
      for (const person of [...talkers].reverse()) {
        await all(people.filter((other) => other !== person), (other) => other.hears('cast', `${person.name} to the others`));
        if (person.generation === 'modern') await all(people, (other) => other.hears('castall', { by: person.name, bytes: BYTES }));
      }
      // Each once, and nobody hears what is not for it.
      for (const other of people) {
        const heard = (await other.heard()).map(([, ...args]) => args.at(-1));
        const times = (words) => heard.filter((one) => one === words).length;
        for (const { name } of talkers) {
          const counts = [times(`${name} to all`), times(`${name} to blue`), times(`${name} to the others`)];
          assert.deepEqual(counts, [1, Number(members.includes(other)), Number(name !== other.name)], `${other.name} hears ${name}`);
        }
      }
    });

    test('what is local stays on its node', async () => {
      for (const [at, person] of oneEach().entries()) {
        person.emit('castlocal', at);
        await person.hears('castlocal', at);
      }
      await sleep(100);
      for (const [at, person] of oneEach().entries()) {
        assert.deepEqual((await person.heard()).filter(([event]) => event === 'castlocal'), [['castlocal', at]]);
      }
    });

    test('namespaces are apart from each other', async () => {
      const guests = await all(bases, (base, at) => ModernPerson.connected('4.8.4', base, `tenant of node ${at}`, '/tenant-1'));
      for (const [at, guest] of guests.entries()) {
        guest.emit('cast', `tenant ${at}`);
        await all(guests.filter((other) => other !== guest), (other) => other.hears('cast', `tenant ${at}`));
      }
      for (const emitter of emitters) {
        await emitter.emit({ of: '/tenant-1' }, 'news', emitter.name);
        await all(guests, (guest) => guest.hears('news', emitter.name));
      }
      guests.forEach((guest) => guest.close());
      for (const person of people) {
        const foreign = (await person.heard()).filter(([event, x]) => event === 'news' || String(x).startsWith('tenant'));
        assert.deepEqual(foreign, [], person.name);
      }
    });

    test('sockets join and leave from outside', async () => {
      const inside = [...oneEach(), ...of09(), ...of06()];
      await gather('inside', inside);
      for (const [at, person] of oneEach().entries()) {
        person.emit('all-join', 'inside', `both ${at}`);
        for (const other of oneEach()) await until(async () => await size(other, `both ${at}`) === inside.length, `${other.name} sees seven in the room`, 10_000);
        await person.emit('roomall', `both ${at}`, 'x');
        await all(inside, (other) => other.hears('roomall', `both ${at}`, 'x'));
        person.emit('all-leave', 'inside', `both ${at}`);
        for (const other of oneEach()) await until(async () => await size(other, `both ${at}`) === 0, `${other.name} sees nobody in the room`, 10_000);
        await person.emit('roomall', `both ${at}`, 'to nobody');
        await person.emit('roomall', 'inside', `behind ${at}`);
        await all(inside, (other) => other.hears('roomall', 'inside', `behind ${at}`));
        for (const other of inside) assert.equal(await other.count('roomall', `both ${at}`, 'to nobody'), 0, other.name);
      }
    });

    test('everybody sees the sockets of all nodes, with their rooms, data and handshakes', async () => {
      // Clients of 0.6 cannot say what is to be seen of them: they have what every socket of ours has.
      const telling = people.filter(({ generation }) => generation !== '0.6');
      for (const person of telling) assert.deepEqual(await person.ask('share', { deep: [1.5, null, 'é😀'], of: person.name }), ['ok']);
      const seen = [];
      for (const person of oneEach()) {
        const [list, silent] = await person.ask('fetch', null);
        assert.equal(list.length, people.length, `${person.name}: ${JSON.stringify(list)}`);
        assert.equal(silent, undefined);
        seen.push(list);
      }
      // The same sockets, with the same rooms, data and handshakes, whoever asks.
      assert.deepEqual(seen[1], seen[0]);
      assert.deepEqual(seen[2], seen[0]);
      const { socket } = people[0];
      const own = seen[2].find(({ id }) => id === socket.id);
      assert.deepEqual(own.rooms, [socket.id, 'blue', 'crowd', 'inside'].sort());
      const data = telling.map(({ name }) => ({ deep: [1.5, null, 'é😀'], of: name }));
      assert.deepEqual(sorted(seen[0].map((one) => one.data)), sorted([...data, ...of06().map(() => ({}))]));
      const local = ['127.0.0.1', '::ffff:127.0.0.1'];
      for (const { handshake } of seen[0]) {
        for (const field of ['address', 'auth', 'headers', 'issued', 'query', 'secure', 'time', 'url', 'xdomain']) assert.ok(field in handshake, `${field} in ${JSON.stringify(handshake)}`);
        assert.ok(local.includes(handshake.address), handshake.address);
        assert.ok(Math.abs(Date.now() - handshake.issued) < 300_000, `${handshake.issued}`);
        assert.ok(bases.some((base) => base.endsWith(handshake.headers.host)), JSON.stringify(handshake.headers));
        assert.ok(handshake.url.startsWith('/socket.io/'), handshake.url);
      }
      // The releases on each of the three nodes: 4.8 says EIO=4 in its query, 2.5 and 1.7 say EIO=3.
      const versions = seen[0].map(({ handshake }) => handshake.query.EIO);
      for (const [version, count] of [['4', 3], ['3', 6]]) assert.equal(versions.filter((one) => one === version).length, count, `${versions}`);
    });

    test('a socket that was found is spoken to, moved and ended wherever it is', async () => {
      for (const [at, person] of oneEach().entries()) {
        const guests = await all(bases, (base, number) => ModernPerson.connected('4.8.4', base, `guest of node ${number}`));
        for (const [number, guest] of guests.entries()) {
          const { id } = guest.socket;
          const x = { bytes: BYTES, from: at, to: number };
          person.emit('emit-to', id, x);
          await guest.hears('news', x);
          for (const other of [...guests, ...people]) assert.equal(await other.count('news', x), Number(other === guest), other.name);
          const room = `found by ${at} on ${number}`;
          person.emit('join-of', id, room);
          for (const other of oneEach()) await until(async () => (await ids(other, room)).join() === id, `${other.name} sees it in the room`, 10_000);
          person.emit('leave-of', id, room);
          for (const other of oneEach()) await until(async () => await size(other, room) === 0, `${other.name} sees nobody in the room`, 10_000);
          // In turn, its socket in this namespace is ended, or its whole connection.
          const tenant = guest.socket.io.socket('/tenant-1');
          await until(() => tenant.connected, `${guest.name} is in two namespaces`, 10_000);
          const closes = (at + number) % 2 === 0;
          person.emit('end-of', id, closes);
          await until(() => guest.ended, `${person.name} ends ${guest.name}`, 10_000);
          if (closes) await until(() => !tenant.connected, `${person.name} closes the connection of ${guest.name}`, 10_000);
          await sleep(20);
          assert.equal(tenant.connected, !closes, guest.name);
          assert.equal(guests.filter(({ ended }) => ended).length, number + 1, 'the others stay');
          tenant.disconnect();
        }
      }
    });

    test('servers tell servers', async () => {
      for (const [at, person] of oneEach().entries()) {
        const x = { at, bytes: BYTES };
        person.emit('sse', x);
        await all(oneEach().filter((other) => other !== person), (other) => other.hears('sse-heard', x));
        assert.equal(await person.count('sse-heard', x), 0);
      }
    });

    test('servers answer servers', async () => {
      const nodes = [];
      for (const person of oneEach()) {
        const [{ answers, missing }] = await person.ask('sse-ask', { deep: ['x', BYTES] });
        assert.deepEqual(legible([answers.map(({ x }) => x), missing]), legible([Array(NODES - 1).fill({ deep: ['x', BYTES] }), 0]));
        nodes.push(answers.map(({ node }) => node));
      }
      // Each asks the others: three processes are there.
      assert.equal(new Set(nodes.flat()).size, 3);
    });

    test('acknowledgements of a room come from all nodes', async () => {
      const asked = people.filter(({ generation }) => generation !== '0.6');
      await all(asked, (person) => person.join('quiz'));
      for (const person of oneEach()) {
        for (const x of ['q', { bytes: BYTES }]) {
          const [{ answers, missing }] = await person.ask('ask-room', 'quiz', 8000, x);
          // A client of 0.9 gets bytes as text, and answers with it.
          const wanted = asked.map((other) => (other.generation === '0.9' && x !== 'q' ? { bytes: { base64: BYTES.toString('base64') } } : other.answerTo(x)));
          assert.deepEqual(sorted(answers), sorted(wanted), person.name);
          assert.equal(missing, 0, person.name);
        }
      }
    });

    test('a client that does not answer is missing, wherever it is', async () => {
      const guests = await all(bases, (base, at) => ModernPerson.connected('4.8.4', base, `guest of node ${at}`));
      await all(guests, (guest) => guest.join('silent'));
      for (const mute of guests) {
        mute.mute = true;
        const others = guests.filter((guest) => guest !== mute);
        const asked = await all(guests, (guest) => guest.ask('ask-room', 'silent', 700, 1));
        for (const [{ answers, missing }] of asked) {
          assert.deepEqual(sorted(answers), sorted(others.map((guest) => guest.answerTo(1))));
          assert.equal(missing, 1);
        }
        mute.mute = false;
      }
      guests.forEach((guest) => guest.close());
    });

    test('sockets are disconnected from outside', async () => {
      for (const at of bases.keys()) {
        const guests = await all(bases, (base, number) => ModernPerson.connected(['4.8.4', '2.5.0', '1.7.4'][number], base, `guest of node ${number}`));
        await all(guests, (guest) => guest.join('out'));
        guests[at].emit('all-disconnect', 'out');
        await until(() => guests.every(({ ended }) => ended), 'the guests are gone', 10_000);
      }
    });

    test('emitters without a server reach everybody whom they mean, once, and nobody else', async () => {
      const outside = [people[2], people[5], people[7]];
      const away = [people[1], people[3], people[8], ...of09()];
      const isIn = (person) => !outside.includes(person);
      const isHere = (person) => !away.includes(person);
      const CHOSEN = [
        [{}, 'to all', () => true],
        [{ to: 'blue' }, 'to blue', isIn],
        [{ except: 'away' }, 'to those who are not away', isHere],
        [{ to: 'blue', except: 'away', volatile: true }, 'to blue without away', (person) => isIn(person) && isHere(person)],
      ];
      for (const emitter of emitters) {
        const x = [emitter.name, { deep: [BYTES] }, null];
        for (const [where, words, hears] of CHOSEN) {
          await emitter.emit(where, 'news', ...x, words);
          await all(people.filter(hears), (person) => person.hears('news', ...x, words));
        }
        const room = `green of ${emitter.name}`;
        const inBlue = people.length - outside.length;
        await emitter.join({ to: 'blue' }, room);
        for (const person of oneEach()) await until(async () => await size(person, room) === inBlue, () => `${person.name} sees ${emitter.name} move sockets`, 10_000);
        await emitter.leave({ to: room }, room);
        for (const person of oneEach()) await until(async () => await size(person, room) === 0, () => `${person.name} sees ${emitter.name} move sockets back`, 10_000);
        await emitter.serverSideEmit('sse', x);
        await all(oneEach(), (person) => person.hears('sse-heard', x));
        for (const close of [false, true]) {
          const guests = await all(bases, (base, at) => ModernPerson.connected('4.8.4', base, `guest of node ${at}`));
          await all(guests, (guest) => guest.join('out'));
          await emitter.disconnect({ to: 'out' }, close);
          await until(() => guests.every(({ ended }) => ended), `${emitter.name} ends the guests`, 10_000);
        }
      }
      await sleep(50);
      for (const { name } of emitters) {
        for (const person of people) {
          const heard = (await person.heard()).filter(([event, first]) => event === 'news' && first === name).map((words) => words.at(-1));
          for (const [, words, hears] of CHOSEN) {
            assert.equal(heard.filter((one) => one === words).length, Number(hears(person)), `${person.name} hears ${name}: ${words}`);
          }
        }
        for (const person of oneEach()) assert.equal(await person.count('sse-heard', [name, { deep: [BYTES] }, null]), 1, person.name);
      }
    });

    if (kind === 'classic') test('a node that is silent is waited for, and counted', async () => {
      // Whoever subscribes to the channel of requests counts as a node, also for genuine nodes.
      const silent = createClient({ url });
      await silent.connect();
      await silent.subscribe('socket.io-request#/#', () => {});
      const [one, two] = people;
      const begun = Date.now();
      const [[list, missing], [told]] = await Promise.all([one.ask('fetch', null), two.ask('sse-ask', 1)]);
      assert.deepEqual([list.length, missing], [people.length, 1]);
      assert.deepEqual([told.answers.length, told.missing], [NODES - 1, 1]);
      assert.ok(Date.now() - begun < 6500, 'a request ends after five seconds');
      await silent.quit();
    });

    // Without one of three servers, a Redis cluster goes on in part.
    if (!isSharded) test('without Redis, everything local goes on, and afterwards all of it', async () => {
      const [one, two, genuine] = oneEach();
      await redis.kill();
      const begun = Date.now();
      one.emit('castall', 'alone');
      await one.hears('castall', 'alone');
      assert.ok(Date.now() - begun < 2000, 'local delivery waits for Redis');
      const [list] = await one.ask('fetch', null);
      assert.equal(list.length, 5, 'the sockets of this node');
      await redis.begin();
      await until(async () => (await all(bases.slice(0, 2), stats)).every(({ pub_sub: { connected } }) => connected), 'our nodes are connected again', 20_000);
      one.emit('castall', 'together');
      await two.hears('castall', 'together');
      // The genuine node comes back at its own pace.
      await until(async () => {
        genuine.emit('castall', 'all of us');
        await sleep(100);
        return await one.count('castall', 'all of us') > 0;
      }, 'the genuine node is heard again', 20_000);
      one.emit('castall', 'at last');
      await all(people, (person) => person.hears('castall', 'at last'));
    });

    // It comes last, because clients of 0.6 connect again by themselves.
    test('sockets of 0.9 and 0.6 are disconnected from outside', async () => {
      const before = await ids(people[0], ROOM_OF_06);
      const guests = await all([0, 1, 0], (at) => all(['0.9.17', '0.6.18'], (version) => OldPerson.connected({ after: ending }, browser, version, 'websocket', bases[at], 'guest')));
      const added = (await ids(people[0], ROOM_OF_06)).filter((id) => !before.includes(id));
      assert.equal(added.length, guests.length);
      // Each node ends one of each generation: those of 0.6, which cannot name their ids, in any order.
      for (const [at, person] of oneEach().entries()) {
        await guests[at][0].join(`out ${at}`);
        person.emit('all-join', added[at], `out ${at}`);
        await until(async () => await size(person, `out ${at}`) === 2, 'both are in the room', 10_000);
        person.emit('all-disconnect', `out ${at}`);
        await until(async () => {
          const gone = await all(guests, ([, six]) => six.isGone());
          return await guests[at][0].isGone() && gone.filter(Boolean).length === at + 1;
        }, `${person.name} ends both`, 10_000);
      }
      for (const guest of guests.flat()) await guest.close();
    });
  });
}
