// Many genuine clients whose connections are cut all the time: every number of a broadcast reaches every client, once and
// in order.
//
// The short form has 100 clients and half a minute. `cargo xtask interop --only crowd --full` has 2,000 clients, each of
// which is cut about every 15 seconds for two minutes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newest, TRANSPORTS } from './lib/clients.mjs';
import { CLIENTS, Crowd, CUTS, EVERY, LIMIT, PAUSE, PROCESSES, recoveryOf, SERVER } from './lib/crowd.mjs';
import { OwnServer } from './lib/own-server.mjs';
import { connect } from './lib/peer.mjs';
import { seed } from './lib/random.mjs';
import { sized } from './lib/scale.mjs';

/** The numbers of the broadcast. */
const COUNT = sized(250, 120);

test(`${CLIENTS} clients hear all of a broadcast while they are cut`, { timeout: LIMIT }, async (t) => {
  const server = await OwnServer.start(t, SERVER);
  const to = server.port + 2;
  const crowd = await Crowd.start(t, { to, count: CLIENTS, processes: PROCESSES, every: EVERY, kinds: CUTS });
  await crowd.tell('begin', {}, LIMIT);
  const witness = await connect(t, newest, { url: `http://127.0.0.1:${to}`, transports: TRANSPORTS.websocket });
  await crowd.tell('cut');
  const began = Date.now();
  witness.emit('numbered', COUNT, PAUSE);
  await witness.take('num-end', LIMIT);
  const seconds = Math.round((Date.now() - began) / 1000);
  await crowd.tell('rest');
  await crowd.tell('ended', { count: COUNT, ms: 60_000 });
  const { cuts, members } = await crowd.report();
  const heard = members.reduce((sum, { streams: [stream] }) => sum + stream.last - stream.missing, 0);
  const count = (name) => members.reduce((sum, member) => sum + member[name], 0);
  const all = Object.values(cuts).reduce((sum, kind) => sum + kind, 0);
  console.log(`crowd: ${CLIENTS} clients, ${COUNT} numbers in ${seconds} s, ${all} cuts (${JSON.stringify(cuts)}), ${count('losses')} losses, ${count('recovered')} recovered, ${count('anew')} not, ${heard} of ${CLIENTS * COUNT} heard; the server says ${JSON.stringify(await recoveryOf(server))}, SIO_SEED=${seed}`);
  const faulty = members.filter(({ streams, anew }) => anew > 0 || streams.length !== 1 || streams[0].last !== COUNT || streams[0].missing > 0 || streams[0].repeated > 0);
  assert.deepEqual(faulty.slice(0, 5), [], `${faulty.length} clients, SIO_SEED=${seed}`);
  // A machine that is too slow for its clients cuts them less often.
  assert.ok(all >= (0.4 * CLIENTS * seconds * 1000) / EVERY, `only ${all} cuts in ${seconds} s`);
});
