// The page of a real index with real nodes: the sandbox is started, and its buttons are pressed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { DEADLINE, expectNoErrors, launch, sees, seesNode, visit } from "./browser.mjs";

let browser;
let sandbox;
let url;

/** The sandbox's binary: as told, or the newest that was built. */
function binary() {
  if (process.env.FLARE_SANDBOX) return process.env.FLARE_SANDBOX;
  const built = ["release", "debug"]
    .map((kind) => fileURLToPath(new URL(`../../target/${kind}/flare-sandbox`, import.meta.url)))
    .map((path) => ({ path, at: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((one, other) => other.at - one.at)[0];
  if (built.at === 0) throw new Error("no sandbox: cargo build --bin flare-sandbox");
  return built.path;
}

/** Starts it on free ports, and waits for the line that names the page. */
async function start() {
  const flags = ["--index-port", "0", "--page-port", "0", "--node-port", "0", "--no-open"];
  sandbox = spawn(binary(), flags, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${why}; the sandbox said:\n${said}`));
    const timer = setTimeout(() => fail("the page's address did not come"), DEADLINE);
    const listen = (bytes) => {
      said += bytes;
      const found = /The page:\s+(http:\S+)/.exec(said);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]);
    };
    sandbox.stdout.on("data", listen);
    sandbox.stderr.on("data", listen);
    sandbox.on("exit", (code) => fail(`it ended with ${code}`));
    sandbox.on("error", (error) => fail(error.message));
  });
}

before(async () => {
  browser = await launch();
  url = await start();
});

after(async () => {
  await browser?.close();
  if (!sandbox || sandbox.exitCode !== null) return;
  const ended = new Promise((resolve) => sandbox.once("exit", resolve));
  sandbox.kill("SIGINT");
  const code = await ended;
  assert.equal(code, 0, "the sandbox ends in order");
});

const masterOf = async (page, partition) => {
  const row = page.locator(`#p${partition} .nodes li[data-role=master]`);
  return row.getAttribute("data-key");
};
const press = (page, what, key) =>
  page.getByRole("button", { name: `${what} ${key}`, exact: true }).click();

test("killing a master moves it, and reviving the node brings it back", async () => {
  const page = await visit(browser, url);
  await sees(page, "#verdict", "All well: 2 partitions served by 4 nodes.");
  const old = await masterOf(page, 0);
  await press(page, "kill", old);
  await sees(page, "#notice", `${old} was killed.`);
  // The slave is the master now, and the old one has no partition and is down.
  await page.waitForFunction(
    (key) => {
      const master = document.querySelector("#p0 .nodes li[data-role=master][data-state=active]");
      return master && master.dataset.key !== key;
    },
    old,
  );
  await sees(page, "#spare", old);
  await seesNode(page, old, "down");
  await sees(page, "#events", new RegExp(`${old}: master active.*down`));
  await press(page, "revive", old);
  await sees(page, "#verdict", "All well: 2 partitions served by 4 nodes.");
  await sees(page, `#p0 .nodes li[data-key="${old}"]`, "slave");
  expectNoErrors(page);
});

test("a frozen master is replaced too, and a node can be added", async () => {
  const page = await visit(browser, url);
  await sees(page, "#verdict", "All well");
  const old = await masterOf(page, 1);
  await press(page, "freeze", old);
  await seesNode(page, old, "its process is frozen");
  await seesNode(page, old, "down");
  await press(page, "revive", old);
  await sees(page, "#verdict", "All well: 2 partitions served by 4 nodes.");
  await page.getByRole("button", { name: "Add a node" }).click();
  await sees(page, "#verdict", "All well: 2 partitions served by 5 nodes.");
  await sees(page, "#spare", "proxy");
  expectNoErrors(page);
});

test("a master is swapped with its slave, and one that leaves hands its partition over", async () => {
  const page = await visit(browser, url);
  await sees(page, "#verdict", "All well");
  const old = await masterOf(page, 0);
  const moved = (key) => page.waitForFunction(
    (was) => {
      const master = document.querySelector("#p0 .nodes li[data-role=master][data-state=active]");
      return master && master.dataset.key !== was;
    },
    key,
  );
  await press(page, "swap the master of partition", "0");
  await page.getByRole("button", { name: "Swap it" }).click();
  await sees(page, "#notice", "The master of partition 0 was swapped.");
  await moved(old);
  await sees(page, "#verdict", "All well");
  const next = await masterOf(page, 0);
  await press(page, "leave", next);
  await page.getByRole("button", { name: "It leaves" }).click();
  await sees(page, "#notice", `${next} may be stopped now.`);
  await moved(next);
  await seesNode(page, next, "leaving");
  await press(page, "stay", next);
  await sees(page, "#notice", `${next} stays.`);
  await sees(page, "#verdict", "All well");
  expectNoErrors(page);
});

test("the page is drawn for a person to look at", async () => {
  const folder = process.env.SCREENSHOTS;
  if (folder) mkdirSync(folder, { recursive: true });
  for (const colorScheme of ["light", "dark"]) {
    for (const [name, width] of [["phone", 390], ["desktop", 1440]]) {
      const page = await visit(browser, url, { colorScheme, viewport: { width, height: 900 } });
      await sees(page, "#p1", "active");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(wide, 0, `${name} ${colorScheme}`);
      if (folder) await page.screenshot({ path: `${folder}/${name}-${colorScheme}.png` });
      expectNoErrors(page);
      await page.close();
    }
  }
});
