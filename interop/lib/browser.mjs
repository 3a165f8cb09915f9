// One headless Chromium for a test file.

import { existsSync } from 'node:fs';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

const executablePath = process.env.SIO_CHROMIUM ?? '/usr/bin/chromium';

/** Registers the browser's start and end with the test file, and returns a way to it. */
export function sharedBrowser() {
  let browser;
  before(async () => {
    if (!existsSync(executablePath)) throw new Error(`no browser at ${executablePath}; set SIO_CHROMIUM to one`);
    // Chromium refuses to sandbox itself when it runs as root, as it does in containers.
    const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    browser = await chromium.launch({ executablePath, args, timeout: 30_000 });
  });
  after(() => browser?.close());
  return () => browser;
}

/** Opens a page with its own browser profile. An exception on the page fails the test. */
export async function openPage(t, browser) {
  const context = await browser().newContext({ viewport: { width: 1280, height: 800 } });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  t.after(async () => {
    await context.close();
    if (errors.length > 0) throw new Error(`the page threw: ${errors.join('; ')}`);
  });
  return page;
}
