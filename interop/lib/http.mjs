// Plain HTTP: any method and any header; a test may close the connection at any time.

import http from 'node:http';
import net from 'node:net';
import { base, port } from './target.mjs';
import { within } from './wait.mjs';

/** Sends a request and waits for the answer: `{status, headers, body}`, with the body as text. */
export const request = (method, url, options) => open(method, url, options).answer;

/** Starts a request. `answer` is the promise of its answer, `destroy` closes the connection. */
export function open(method, url, { headers = {}, body } = {}) {
  const outgoing = http.request(url, { method, headers, agent: false });
  const answer = new Promise((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks = [];
      response.on('error', reject);
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({
        status: response.statusCode,
        headers: response.headers,
        body: Buffer.concat(chunks).toString(),
      }));
    });
  });
  outgoing.end(body);
  const bounded = within(answer, `${method} ${url}`);
  bounded.catch(() => {}); // a test that closes the connection does not wait for the answer
  return { answer: bounded, destroy: () => outgoing.destroy() };
}

/** The URL of Engine.IO with these parameters. */
export function engineUrl(parameters) {
  return `${base}/socket.io/?${new URLSearchParams(parameters)}`;
}

/** Opens a polling session: its id and its URL. The length in front of a packet of revision 3 is removed. */
export async function handshake({ eio = 4, headers } = {}) {
  const answer = await request('GET', engineUrl({ EIO: eio, transport: 'polling' }), { headers });
  if (answer.status !== 200) throw new Error(`the handshake was answered ${answer.status} ${answer.body}`);
  const packet = eio === 4 ? answer.body : answer.body.slice(answer.body.indexOf(':') + 1);
  const end = packet.indexOf('}') + 1;
  const details = JSON.parse(packet.slice(1, end));
  return { ...details, answer, url: engineUrl({ EIO: eio, transport: 'polling', sid: details.sid }) };
}

/** A polling session that has joined `/`, with nothing waiting to be polled. */
export async function joined() {
  const session = await handshake();
  await request('POST', session.url, { body: '40' });
  const { body } = await request('GET', session.url);
  if (!body.startsWith('40{"sid":')) throw new Error(`CONNECT was answered ${body}`);
  return session;
}

/** Sends exactly these bytes, and returns everything that comes back until the server closes. */
export function raw(bytes, ms = 5000) {
  const socket = net.connect(port, '127.0.0.1');
  const everything = new Promise((resolve, reject) => {
    const chunks = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.write(bytes);
  });
  return within(everything, 'the server to close', ms).finally(() => socket.destroy());
}
