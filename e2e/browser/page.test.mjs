// The page in states that a real cluster reaches only on bad days.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { expectNoErrors, launch, sees, seesNode, visit } from "./browser.mjs";
import { FakeIndex, node, topology } from "./fake-index.mjs";

let browser;
let index;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  index = await FakeIndex.start();
});
afterEach(() => index.die());

const twoByTwo = () => [
  node("a:1", "master", 0),
  node("b:1", "slave", 0),
  node("c:1", "master", 1),
  node("d:1", "slave", 1),
];

test("a healthy cluster is told in one sentence", async () => {
  index.view = topology(twoByTwo());
  const page = await visit(browser, index.url);
  await sees(page, "#verdict", "All well: 2 partitions served by 4 nodes.");
  await sees(page, "#live", "live");
  await sees(page, "#p0", /Partition 0\s*2 of 2 active · 1,000 items/);
  await seesNode(page, "a:1", /master.*active.*v7.*1,000/);
  assert.equal(await page.locator("#alerts").isVisible(), false);
  assert.equal(await page.locator("#sandbox").isVisible(), false);
  expectNoErrors(page);
});

test("an event brings the news at once, and stays in the list", async () => {
  index.view = topology(twoByTwo());
  const page = await visit(browser, index.url);
  await sees(page, "#live", "live");
  const nodes = twoByTwo();
  nodes[0] = node("a:1", "proxy", null, { state: "down", linked: false });
  nodes[1] = node("b:1", "master", 0);
  index.view = topology(nodes, { version: 8 });
  index.happen({ severity: "warning", sentence: "a:1: master active → proxy down", version: 8 });
  await sees(page, "#events li.warning", "a:1: master active → proxy down");
  await seesNode(page, "b:1", "master");
  await sees(page, "#spare", /a:1.*down/);
  await sees(page, "#verdict", "1 node is down; partition 0 is short of copies.");
});

test("a partition without a master is an error, in words too", async () => {
  const nodes = twoByTwo();
  nodes[2].state = "down";
  nodes[2].linked = false;
  const sentence = "Partition 1 has no master: it is down and no active slave can take over.";
  index.view = topology(nodes, { blocked: [{ kind: "master_down", severity: "error", sentence }] });
  const page = await visit(browser, index.url);
  await sees(page, "#verdict[data-level=error]", "Partition 1 has no active master");
  await sees(page, "#p1", "no active master");
  await sees(page, "#alerts", sentence);
  assert.match(await page.title(), /^! games/);
  // Its data is on that node: it is to be started, and cannot be forgotten from here.
  assert.equal(await page.getByRole("button", { name: "forget c:1" }).count(), 0);
});

test("a refused reduction shows what would be lost and the five steps", async () => {
  const lost = [{ partition: 1, items: 1234567, nodes: ["c:1", "d:1"] }];
  const steps = ["first", "second", "third", "fourth", "fifth"];
  index.view = topology(twoByTwo(), {
    blocked: [{ kind: "partition_reduction", severity: "error", sentence: "Keys would go." }],
    reduction: { have: 2, wanted: 1, lost, steps, note: "On Kubernetes …" },
  });
  const page = await visit(browser, index.url);
  await sees(page, "#alerts h3", "UNSAFE PARTITION REDUCTION DETECTED");
  await page.getByText("What would be lost, and the safe way").click();
  await sees(page, "#alerts ul", "partition 1: 1,234,567 items on c:1, d:1");
  assert.deepEqual(await page.locator("#alerts ol li").allTextContents(), steps);
});

test("a bad manifest and an index that is not ready are told", async () => {
  index.view = topology(twoByTwo(), {
    ready: false,
    troubles: ["the last write to the store failed: No space left on device"],
    manifest: { path: "/etc/cluster.yaml", inForce: false, problem: "line 4: spec.partitions is 0",
      readAtUnixMillis: 1 },
  });
  const page = await visit(browser, index.url);
  await sees(page, "#verdict", "No space left on device");
  await sees(page, "#alerts", "/etc/cluster.yaml: line 4: spec.partitions is 0");
});

test("a lost connection is plain to see, and mends itself", async () => {
  index.view = topology(twoByTwo());
  const page = await visit(browser, index.url);
  await sees(page, "#live", "live");
  await index.die();
  await sees(page, "#lost", /Connection lost\. What you see is as of/);
  await sees(page, "#live", "connection lost");
  index.view = topology(twoByTwo(), { version: 99 });
  await index.listen(index.port);
  await sees(page, "#figures", "99");
  await page.locator("#lost").waitFor({ state: "hidden" });
  await sees(page, "#live", /^live$/);
});

test("a node that is down can be forgotten, after one more question", async () => {
  const gone = node("e:1", "proxy", null, { state: "down", linked: false });
  index.view = topology([...twoByTwo(), gone]);
  const page = await visit(browser, index.url);
  const forget = page.getByRole("button", { name: "forget e:1" });
  await forget.click();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "hidden" });
  await forget.click();
  await page.getByRole("button", { name: "Keep it" }).click();
  assert.equal(index.orders.some((order) => order.startsWith("DELETE")), false);
  await forget.click();
  await page.getByRole("button", { name: "Forget it" }).click();
  await sees(page, "#notice", "e:1 was forgotten.");
  assert.ok(index.orders.includes("DELETE /api/v1/nodes/e:1"));
});

test("a master is swapped after one more question, and a refusal is told", async () => {
  index.view = topology(twoByTwo());
  const page = await visit(browser, index.url);
  const swap = page.getByRole("button", { name: "swap the master of partition 1" });
  await swap.click();
  await sees(page, "dialog", "Swap the master of partition 1 with an active slave?");
  await page.getByRole("button", { name: "Leave it" }).click();
  assert.equal(index.orders.some((order) => order.startsWith("POST")), false);
  await swap.click();
  await page.getByRole("button", { name: "Swap it" }).click();
  await sees(page, "#notice", "The master of partition 1 was swapped.");
  assert.ok(index.orders.includes("POST /api/v1/partitions/1/switchover"));
  index.refusal = "another change of roles is under way; ask again when it is done";
  await swap.click();
  await page.getByRole("button", { name: "Swap it" }).click();
  await sees(page, "#notice", `Not done: ${index.refusal}`);
});

test("a person chooses the copy that a lost partition goes on with", async () => {
  const nodes = [
    node("a:1", "master", 0, { state: "down", items: 0 }),
    node("b:1", "proxy", null, { items: 7 }),
    node("c:1", "proxy", null, { state: "down", linked: false, items: null }),
  ];
  const candidates = [
    { node: "b:1", items: 7, complete: true, keptUntil: 8, best: true, sentence: "whole up to 8" },
    { node: "c:1", items: null, complete: false, keptUntil: 4, best: false, sentence: "not known" },
  ];
  index.view = topology(nodes);
  index.view.partitions[0].recovery = { masterEmpty: true, chosen: null, candidates };
  const page = await visit(browser, index.url);
  await sees(page, "#p0 .recovery", /b:1\s*the best: 7 items; whole up to 8/);
  await sees(page, "#p0 .recovery", /c:1\s*not known/);
  await sees(page, "#p0 .recovery", /a:1\s*0 items; came back empty: to go on with nothing/);
  const recover = page.getByRole("button", { name: "go on with the copy of b:1" });
  const unseen = page.getByRole("button", { name: "go on with the copy of c:1" });
  assert.equal(await unseen.count(), 0, "it cannot be chosen while it is down");
  await recover.click();
  await sees(page, "dialog", "Go on with the copy of b:1? Writes that it lacks are lost");
  await page.getByRole("button", { name: "Leave it" }).click();
  assert.equal(index.orders.some((order) => order.startsWith("POST")), false);
  await page.getByRole("button", { name: "go on with a:1, empty" }).click();
  await sees(page, "dialog", "Go on with nothing? a:1 is empty: all keys of partition 0 are lost");
  await page.keyboard.press("Escape");
  await recover.click();
  await page.getByRole("button", { name: "Go on with it" }).click();
  await sees(page, "#notice", "b:1 was chosen, and takes over.");
  assert.ok(index.orders.includes("POST /api/v1/partitions/0/recover"));
  assert.deepEqual(JSON.parse(index.bodies.at(-1)), { from: "b:1" });
  const posts = index.orders.filter((order) => order.startsWith("POST"));
  assert.equal(posts.length, 1, "what was not confirmed was ordered");

  index.view = topology(nodes, { version: 8 });
  index.view.partitions[0].recovery = { masterEmpty: true, chosen: "b:1", candidates };
  index.happen({ sentence: "b:1 was chosen", version: 8 });
  await sees(page, "#p0 .recovery", "It goes on with b:1, as soon as that node knows.");
  assert.equal(await page.getByRole("button", { name: /^go on with/ }).count(), 0);
  expectNoErrors(page);
});

test("only a partition with an active slave that stays has a master to swap", async () => {
  const nodes = twoByTwo();
  nodes[1].state = "prepare";
  nodes[3].leaving = true;
  index.view = topology(nodes);
  const page = await visit(browser, index.url);
  await seesNode(page, "d:1", "leaving");
  assert.equal(await page.getByRole("button", { name: /^swap/ }).count(), 0);
});

test("a node leaves after one more question, and stays without one", async () => {
  index.view = topology(twoByTwo());
  const page = await visit(browser, index.url);
  await page.getByRole("button", { name: "leave a:1" }).click();
  await page.getByRole("button", { name: "It leaves" }).click();
  await sees(page, "#notice", "a:1 may be stopped now.");
  assert.ok(index.orders.includes("POST /api/v1/nodes/a:1/leave"));
  assert.deepEqual(JSON.parse(index.bodies.at(-1)), { cancel: false });
  const nodes = twoByTwo();
  nodes[0].leaving = true;
  index.view = topology(nodes, { version: 8 });
  index.happen({ sentence: "a:1 leaves", version: 8 });
  await seesNode(page, "a:1", "leaving");
  await page.getByRole("button", { name: "stay a:1" }).click();
  await sees(page, "#notice", "a:1 stays.");
  assert.deepEqual(JSON.parse(index.bodies.at(-1)), { cancel: true });
});

test("where a person assigns roles no node is asked to leave", async () => {
  index.view = topology(twoByTwo(), { wanted: null, mode: "manual" });
  const page = await visit(browser, index.url);
  await seesNode(page, "a:1", "active");
  assert.equal(await page.getByRole("button", { name: "leave a:1" }).count(), 0);
});

test("the circuit breaker can be closed, after one more question", async () => {
  const sentence = "The circuit breaker is open: nothing is failed over or assigned.";
  const blocked = [{ kind: "breaker_open", severity: "error", sentence }];
  index.view = topology(twoByTwo(), { blocked });
  const page = await visit(browser, index.url);
  await sees(page, "#alerts", sentence);
  await page.getByRole("button", { name: "Close the breaker" }).click();
  await page.getByRole("button", { name: "Close it" }).click();
  await sees(page, "#notice", "The breaker was told to close.");
  assert.ok(index.orders.includes("POST /api/v1/breaker/reset"));
});

test("a thousand nodes can be found one's way in", async () => {
  const nodes = Array.from({ length: 1000 }, (_, at) =>
    node(`flare-${at}.example:1`, at % 2 ? "slave" : "master", Math.floor(at / 2)));
  nodes[801].state = "prepare";
  index.view = topology(nodes);
  const page = await visit(browser, index.url);
  await sees(page, "#verdict", "1 node is copying; partition 400 is short of copies.");
  assert.equal(await page.locator("#strip a").count(), 500);
  await page.getByRole("checkbox", { name: "Only what needs attention" }).check();
  await page.waitForFunction(() => document.querySelectorAll("#cards .card").length === 1);
  await sees(page, "#cards", "Partition 400");
  await page.getByRole("checkbox", { name: "Only what needs attention" }).uncheck();
  await page.getByRole("searchbox").fill("flare-999.");
  await page.waitForFunction(() => document.querySelectorAll("#cards .card").length === 1);
  await sees(page, "#cards", "Partition 499");
  await page.getByRole("searchbox").fill("no such node");
  await sees(page, "#none", "No partition matches.");
  expectNoErrors(page);
});

test("the strip is one stop of the Tab key, and arrows move in it", async () => {
  const nodes = Array.from({ length: 20 }, (_, at) => node(`n${at}:1`, "master", at));
  index.view = topology(nodes);
  const page = await visit(browser, index.url);
  // before the strip is drawn the next stop is beyond the page
  await page.waitForFunction(() => document.querySelectorAll("#strip a").length === 20);
  await page.getByRole("checkbox").focus();
  await page.keyboard.press("Tab");
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "End"]) {
    await page.keyboard.press(key);
  }
  assert.match(await page.locator(":focus").getAttribute("aria-label"), /^Partition 19: /);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash === "#p19");
});

test("names are text, whatever they contain", async () => {
  const name = "<img src=x onerror=document.title='owned'>:1";
  index.view = topology([node(name, "master", 0)]);
  const page = await visit(browser, index.url);
  await sees(page, "#p0", "<img src=x");
  index.happen({ sentence: "<b>bold</b>" });
  await sees(page, "#events", "<b>bold</b>");
  assert.equal(await page.locator("#events b, #cards img").count(), 0);
});

test("each node shows its zone, once zones are told of any", async () => {
  index.view = topology(twoByTwo());
  const page = await visit(browser, index.url);
  await seesNode(page, "a:1", "active");
  assert.equal(await page.getByText("zone").count(), 0);
  const nodes = twoByTwo();
  nodes[0].zone = "rack-1";
  nodes[1].zone = "rack-2";
  index.view = topology(nodes, { version: 8 });
  index.happen({ sentence: "zones were told", version: 8 });
  await seesNode(page, "a:1", "rack-1");
  await seesNode(page, "b:1", "rack-2");
  await seesNode(page, "c:1", "zone ?");
});

test("nothing sticks out on a phone, in light and in dark", async () => {
  const long = "a-rather-long-host-name-of-a-node.somewhere.in.a.cluster.example.net";
  const more = { linked: false, zone: long.slice(0, 60) };
  const nodes = twoByTwo().concat(node(`${long}:12121`, "slave", 1, more));
  index.view = topology(nodes, { troubles: [`${long}${long}`], ready: false });
  for (const colorScheme of ["light", "dark"]) {
    const page = await visit(browser, index.url, {
      colorScheme, viewport: { width: 390, height: 844 },
    });
    await seesNode(page, `${long}:12121`, "no link, v7");
    const [wide, ground] = await page.evaluate(() => [
      document.documentElement.scrollWidth - innerWidth,
      getComputedStyle(document.body).backgroundColor,
    ]);
    assert.equal(wide, 0);
    const [red] = ground.match(/\d+/g).map(Number);
    assert.equal(red > 128, colorScheme === "light", ground);
    await page.close();
  }
});
