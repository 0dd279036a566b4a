// The browser, and what a test wants to know of a page.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

/** A headless Chromium that asks nobody but the page's own server for anything. */
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** How long a condition may take to come true, in milliseconds. */
export const DEADLINE = 60_000;

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    const remedy = "apt-get install chromium, or set CHROMIUM";
    throw new Error(`there is no browser ${executablePath}: ${remedy}`);
  }
  return chromium.launch({ executablePath, args: FLAGS });
}

/** A page at `url` on which nothing may go wrong unseen: see `expectNoErrors`. */
export async function visit(browser, url, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, ...options });
  page.setDefaultTimeout(DEADLINE);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(message.text());
  });
  await page.goto(url);
  return page;
}

export function expectNoErrors(page) {
  assert.deepEqual(page.errors, []);
}

/** Waits until an element that `selector` finds shows `text`, a string or a pattern. */
export async function sees(page, selector, text) {
  await page.locator(selector).filter({ hasText: text }).first().waitFor();
}

/** Waits until the row of this node shows `text`. */
export const seesNode = (page, key, text) => sees(page, `.nodes li[data-key="${key}"]`, text);
