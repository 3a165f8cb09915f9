// Clients of every release from 0.6.18 to 4.8 in one room, on one port: every client receives unchanged what any other
// client sends.
//
// The contract has no event with which clients of 0.6 could send to later clients. The chat has one (see the suite
// `chat`).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { legible } from './lib/bytes.mjs';
import { clients, TRANSPORTS } from './lib/clients.mjs';
import { connectOld, OLD_RELEASES, OLD_TRANSPORTS, openOldPage, ORIGINS } from './lib/page-peer.mjs';
import { connect } from './lib/peer.mjs';
import { until } from './lib/wait.mjs';

const WORDS = ['é€😀♥', 'line\nfeed \u2028', '3:::x ~m~1~m~y', '</script>'];

const browser = sharedBrowser();

/** All clients: each release over each of its transports. Clients in browsers use both origins in turn. */
async function everybody(t) {
  const origins = Object.values(ORIGINS);
  const old = OLD_RELEASES.map(async (release, index) => {
    const page = await openOldPage(t, browser, release, { origin: origins[index % origins.length] });
    const peers = OLD_TRANSPORTS.map((transport) => connectOld(t, page, release, transport));
    return (await Promise.all(peers)).map((peer, at) => ({ peer, release, name: `${release.version} over ${OLD_TRANSPORTS[at]}` }));
  });
  // Opening pages takes seconds. The clients of today have heartbeats of little more than one second and would be lost
  // meanwhile, so they connect afterwards.
  const inPages = (await Promise.all(old)).flat();
  const modern = clients.flatMap((client) => Object.entries(TRANSPORTS).map(async ([name, transports]) => {
    const peer = await connect(t, client, { transports });
    return { peer, release: client, name: `${client.version} over ${name}` };
  }));
  return [...inPages, ...(await Promise.all(modern))];
}

const isOf06 = ({ release }) => release.family === '0.6';

/** The argument of the next broadcast that this client receives. 0.6 has no events: there it is a JSON message with the name of the event. */
async function hears({ peer, ...one }) {
  if (!isOf06(one)) return (await peer.take('cast', 20_000))[0];
  const [said] = await peer.take('message');
  assert.equal(said.event, 'cast');
  return said.attachments ? { args: said.args.length, attachments: said.attachments } : said.args[0];
}

test('each hears each', { timeout: 240_000 }, async (t) => {
  const all = await everybody(t);
  for (const [turn, speaker] of all.entries()) {
    const words = `${speaker.name} says ${WORDS[turn % WORDS.length]}`;
    const others = all.filter((one) => one !== speaker);
    if (isOf06(speaker)) {
      await speaker.peer.send(`cast:${words}`);
      for (const one of others.filter(isOf06)) assert.deepEqual(await one.peer.take('message'), [`cast:${words}`], one.name);
    } else {
      await speaker.peer.emit('cast', words);
      const heard = await Promise.all(others.map(async (one) => [one.name, await hears(one)]));
      assert.deepEqual(heard, others.map((one) => [one.name, words]));
    }
  }
  for (const { peer, name } of all) assert.equal(await peer.count('cast'), 0, `${name} hears each word once, and none of its own`);
});

test('bytes reach everybody in the form that each can read', { timeout: 120_000 }, async (t) => {
  const all = await everybody(t);
  const bytes = Buffer.from([0, 1, 2, 0xfd, 0xff]);
  const speakers = all.filter(({ release }) => release.io);
  for (const speaker of [speakers[0], speakers.at(-1)]) {
    speaker.peer.emit('cast', bytes);
    for (const one of all.filter((other) => other !== speaker)) {
      const heard = await hears(one);
      if (one.release.io) assert.deepEqual(legible(heard), legible(bytes), one.name);
      else if (isOf06(one)) assert.deepEqual(heard, { args: 1, attachments: [bytes.toString('base64')] }, one.name);
      else assert.deepEqual(heard, { base64: bytes.toString('base64') }, one.name);
    }
  }
});

/** Sessions of 0.6 outlive their pages for a while: waits until none of the tests before is left. */
async function nobodyOf06(t) {
  const peer = await connect(t, clients.at(-1), { transports: TRANSPORTS.websocket });
  const nobody = async () => (await peer.ask('ask-room', '\0generation 0.6', 1000, 'anybody?'))[0].missing === 0;
  await until(nobody, 'the end of the sessions of 0.6 of the tests before', 30_000);
}

test('a question to everybody is answered by all clients that have acknowledgements', { timeout: 120_000 }, async (t) => {
  await nobodyOf06(t);
  const all = await everybody(t);
  const able = all.filter((one) => !isOf06(one));
  await Promise.all(able.map(async ({ peer, name }) => assert.deepEqual(await peer.ask('join', 'all'), ['ok'], name)));
  const { peer: asker } = able.find(({ release }) => release.io);
  const [asked] = await asker.ask('ask-room', 'all', 4000, WORDS[0]);
  assert.deepEqual(asked, { answers: able.map(() => WORDS[0]), missing: 0 });
  // Clients of 0.6 get the event, and are known at once not to answer.
  const begun = Date.now();
  const [unable] = await asker.ask('ask-room', '\0generation 0.6', 4000, 'you?');
  assert.deepEqual(unable, { answers: [], missing: all.length - able.length });
  assert.ok(Date.now() - begun < 3000, 'nobody is waited for');
  for (const { peer, name } of all.filter(isOf06)) assert.deepEqual((await peer.take('message'))[0].event, 'question', name);
});
