// htmlfile with the genuine clients of 0.6 to 0.9. They need an object of Internet Explorer, for which the page has a
// replacement.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sharedBrowser } from './lib/browser.mjs';
import { connectOld, OLD_RELEASES, openOldPage } from './lib/page-peer.mjs';
import { OBJECTS, TEXTS, canRead } from './lib/texts.mjs';

const browser = sharedBrowser();

/** The object that the clients need from Internet Explorer: a document without a window. Here it is the document of a hidden frame. */
function stageHtmlfile() {
  window.ActiveXObject = function htmlfile() {
    const frame = document.body.appendChild(document.createElement('iframe'));
    const { contentDocument, contentWindow } = frame;
    contentDocument.parentWindow = contentWindow;
    return contentDocument;
  };
  window.CollectGarbage = () => {};
  window.attachEvent = (name, listener) => window.addEventListener(name.slice(2), listener);
}

describe('genuine clients over htmlfile', { concurrency: true }, () => {
  for (const release of OLD_RELEASES) {
    const open = async (t) => {
      const page = await openOldPage(t, browser, release, { stage: stageHtmlfile });
      return connectOld(t, page, release, 'htmlfile');
    };

    test(`${release.version}: text and JSON come back as they went`, async (t) => {
      const client = await open(t);
      // From 0.9.15 on the client removes a backslash before a slash, because its servers had added one.
      const texts = TEXTS.filter((text) => !text.includes('\\/') && canRead(release, text));
      const values = [...texts, ...OBJECTS];
      for (const value of values) await client.send(value);
      assert.deepEqual((await client.takeAll('message', values.length)).map(([value]) => value), values);
    });

    test(`${release.version}: stays connected over heartbeats`, async (t) => {
      const client = await open(t);
      await client.page.waitForTimeout(10_000);
      await client.send('still here');
      assert.deepEqual(await client.take('message'), ['still here']);
      assert.equal(await client.count('disconnect'), 0);
    });
  }
});
