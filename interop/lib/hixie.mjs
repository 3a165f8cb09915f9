// A WebSocket of 2010: hixie-75, and hixie-76 with its keys (docs/protocol/legacy-0.6.md §10.1).

import { createHash } from 'node:crypto';
import { base, port } from './target.mjs';
import { head, Tcp } from './tcp.mjs';

/** The test vector of the document. */
export const KEYS = { key1: '4 @1  46546xW%0l 1 5', key2: '12998 5 Y3 1  .P00', body: '^n:ds[4U', digest: '8jKS\'y:G*Co,Wxa-' };

/** The digest with which a server must answer the keys and the eight bytes. */
export function digest({ key1, key2, body }) {
  const number = (key) => {
    const quotient = Buffer.alloc(4);
    quotient.writeUInt32BE(Number(key.replace(/\D/g, '')) / key.replace(/[^ ]/g, '').length);
    return quotient;
  };
  return createHash('md5').update(number(key1)).update(number(key2)).update(body, 'latin1').digest('latin1');
}

/** The head of a request. Without keys it is a request of hixie-75. */
export function requestHead(path, { key1, key2, origin = base, lines = [] } = {}) {
  const keys = key1 === undefined ? [] : [`Sec-WebSocket-Key1: ${key1}`, `Sec-WebSocket-Key2: ${key2}`];
  const from = origin === null ? [] : [`Origin: ${origin}`];
  return [`GET ${path} HTTP/1.1`, 'Upgrade: WebSocket', 'Connection: Upgrade', `Host: 127.0.0.1:${port}`, ...from, ...keys, ...lines, '', '']
    .join('\r\n');
}

export class Hixie {
  constructor(tcp) {
    this.tcp = tcp;
  }

  send(text) {
    this.tcp.write(Hixie.frame(text));
  }

  static frame(text) {
    return Buffer.concat([Buffer.from([0]), Buffer.from(text), Buffer.from([0xff])]);
  }

  /** The next text. */
  async next(ms) {
    const frame = await this.tcp.takeUntil(Buffer.from([0xff]), ms);
    if (frame[0] !== 0) throw new Error(`a frame begins with ${frame[0]}`);
    return frame.subarray(1, -1).toString();
  }

  /** Reads texts until `wanted` is true for one, and returns it. */
  async find(wanted) {
    for (let texts = 0; texts < 100; texts += 1) {
      const text = await this.next();
      if (wanted(text)) return text;
    }
    throw new Error('a hundred texts, and none is the one');
  }
}

/** Opens a websocket of hixie-76 or hixie-75. */
export async function openHixie(t, path, draft = 76) {
  const tcp = new Tcp(t);
  const keys = draft === 76 ? KEYS : {};
  tcp.write(requestHead(path, keys), keys.body ?? '');
  const answer = await head(tcp);
  if (!answer.status.startsWith('HTTP/1.1 101 ')) throw new Error(`the handshake was answered ${answer.status}`);
  if (draft === 76) await tcp.take(16);
  return new Hixie(tcp);
}
