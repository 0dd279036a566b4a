// Draws the frame (header, alerts, sandbox) and the partitions with their nodes.

import { make, setAttribute, setText, short, sync, whole } from "/dom.js";
import { createRecovery, drawRecovery } from "/recovery.js";
import { hasLapsed, isBehind, judge, needsAttention, verdict, wantedCopies } from "/judge.js";

/** With more partitions than this there is a strip to find them by. */
const STRIP_FROM = 12;
const STATE_MARKS = { active: "\u25cf", prepare: "\u25d0", ready: "\u25d1", down: "\u2715" };

const byId = (id) => document.getElementById(id);

export function drawFrame(state, actions) {
  drawConnection(state);
  const { view } = state;
  if (!view) return;
  const judged = judge(view);
  setText(byId("cluster"), view.cluster);
  setText(byId("mode"), mode(view));
  const { level, text } = verdict(view, judged);
  setText(byId("verdict"), text);
  setAttribute(byId("verdict"), "data-level", level);
  document.title = `${level === "good" ? "" : "! "}${view.cluster} · Flare index`;
  drawFigures(view, judged);
  drawAlerts(view, actions);
  drawSandbox(state);
}

function mode(view) {
  if (!view.wanted) return "assigned by hand";
  const { partitions, replicas, paused } = view.wanted;
  return `wanted: ${partitions} × ${replicas}${paused ? ", paused" : ""}`;
}

function drawConnection({ lostSince, readAt }) {
  const lost = lostSince !== null && readAt !== null;
  const label = lost ? "connection lost" : readAt === null ? "connecting" : "live";
  setText(byId("live"), label);
  setAttribute(byId("live"), "data-state", lost ? "lost" : "live");
  document.body.classList.toggle("stale", lost);
  byId("lost").hidden = !lost;
  if (!lost) return;
  const seconds = Math.max(0, Math.round((Date.now() - readAt) / 1000));
  const at = new Date(readAt).toLocaleTimeString("en-GB");
  const text = `Connection lost. What you see is as of ${at}, ${seconds} s ago. Trying again …`;
  setText(byId("lost"), text);
}

function drawFigures(view, judged) {
  const figures = [
    ["map version", whole(view.version), ""],
    ["partitions", whole(judged.partitions.length), ""],
    ["nodes", whole(view.nodes.length), ""],
    ["down", whole(judged.down), judged.down > 0 ? "error" : ""],
    ["copying", whole(judged.preparing), judged.preparing > 0 ? "warning" : ""],
    ["older map", whole(judged.behind), judged.behind > 0 ? "warning" : ""],
    ["items", short(judged.items), ""],
  ];
  const create = ([name]) => make("div", {}, make("dt", {}, name), make("dd"));
  sync(byId("figures"), figures, ([name]) => name, create, (figure, [, value, level]) => {
    setText(figure.lastChild, value);
    setAttribute(figure, "data-level", level);
  });
}

function alertsOf(view) {
  const alerts = view.troubles.map((text) => ({ level: "error", title: "Not ready", text }));
  if (view.manifest?.problem) {
    const text = `${view.manifest.path}: ${view.manifest.problem} The last good one is in force.`;
    alerts.push({ level: "error", title: "Manifest refused", text });
  }
  for (const blocked of view.blocked) {
    const title = TITLES[blocked.kind] ?? blocked.kind.replaceAll("_", " ");
    const reduction = blocked.kind === "partition_reduction" ? view.reduction : null;
    const { kind, severity: level, sentence: text } = blocked;
    alerts.push({ level, title, text, reduction, isBreaker: kind === "breaker_open" });
  }
  return alerts;
}

const TITLES = {
  partition_reduction: "UNSAFE PARTITION REDUCTION DETECTED",
  growth_within_hint: "Growth within the hint",
  partition_size: "Too many partitions",
  missing_nodes: "Nodes are missing",
  master_down: "No master",
  came_back_empty: "Came back empty",
  breaker_open: "The circuit breaker is open",
  may_hold_data: "May hold the only copy",
  version_jump: "Version too high",
};

function drawAlerts(view, actions) {
  const alerts = alertsOf(view);
  const section = byId("alerts");
  section.hidden = alerts.length === 0;
  const key = (alert) => `${alert.title}\n${alert.text}\n${JSON.stringify(alert.reduction ?? "")}`;
  alerts.sort((one, other) => (one.level > other.level) - (one.level < other.level));
  const create = ({ level, title, text, reduction, isBreaker }) => {
    const alert = make("div", { class: "alert", "data-level": level }, make("h3", {}, title));
    alert.append(make("p", {}, text));
    if (reduction) alert.append(reductionDetails(reduction));
    if (isBreaker) {
      const button = make("button", { type: "button" }, "Close the breaker");
      button.addEventListener("click", actions.closeBreaker);
      alert.append(button);
    }
    return alert;
  };
  sync(section, alerts, key, create, () => {});
}

function reductionDetails({ lost, steps, note }) {
  const losses = lost.map(({ partition, items, nodes }) => {
    const count = items === null ? "an unknown number of items" : `${whole(items)} items`;
    return make("li", {}, `partition ${partition}: ${count} on ${nodes.join(", ")}`);
  });
  const ways = steps.map((step) => make("li", {}, step));
  return make(
    "details",
    {},
    make("summary", {}, "What would be lost, and the safe way in five steps"),
    make("h4", {}, "Would be lost"),
    make("ul", {}, ...losses),
    make("h4", {}, "The safe way"),
    make("ol", {}, ...ways),
    make("p", {}, note),
  );
}

function drawSandbox({ sandbox }) {
  byId("sandbox").hidden = sandbox === null;
  if (sandbox === null) return;
  const counts = ["running", "frozen", "dead"].map((process) => {
    const count = [...sandbox.values()].filter((other) => other === process).length;
    return count > 0 ? `${count} ${process}` : null;
  });
  const text = `Nodes: ${counts.filter((count) => count !== null).join(", ") || "none"}.`;
  setText(byId("sandbox-nodes"), `${text} Break something and watch the master move.`);
}

export function drawPartitions(state, actions) {
  const { view, filter, attention } = state;
  const judged = judge(view);
  const matches = (node) =>
    `${node.key} ${node.role} ${node.state} ${node.zone ?? ""}${node.linked ? "" : " no link"}`
      .includes(filter);
  const named = (partition) => `partition ${partition.partition}` === filter;
  const shown = judged.partitions.filter((partition) => {
    if (attention && !partition.attention) return false;
    return filter === "" || named(partition) || partition.nodes.some(matches);
  });
  const context = {
    view, sandbox: state.sandbox, actions, matches: filter ? matches : null,
    zoned: view.nodes.some((node) => node.zone),
  };
  sync(byId("cards"), shown, (p) => p.partition, createCard, (card, partition) => {
    updateCard(card, partition, context);
  });
  drawStrip(judged.partitions);
  const spare = judged.spare.filter((node) => {
    const asked = !attention || needsAttention(node, view);
    return asked && (filter === "" || matches(node));
  });
  byId("spare").hidden = spare.length === 0;
  drawNodes(byId("spare-nodes"), spare, context);
  drawNone(judged, shown, spare);
}

function drawNone(judged, shown, spare) {
  const none = byId("none");
  none.hidden = shown.length > 0;
  if (shown.length > 0) return;
  const empty = judged.partitions.length === 0;
  if (empty) setText(none, "There is no partition yet.");
  else if (spare.length > 0) setText(none, "No partition matches, only nodes without one.");
  else setText(none, "No partition matches.");
}

function createCard({ partition }) {
  const title = make("h3", {}, `Partition ${partition}`);
  const label = `swap the master of partition ${partition}`;
  const swap = make("button", { type: "button", class: "small", "aria-label": label }, "swap");
  const head = make("div", { class: "card-head" }, title, make("span", { class: "quiet" }), swap);
  const nodes = make("ul", { class: "nodes" });
  return make("article", { class: "card", id: `p${partition}` }, head, nodes, createRecovery());
}

function updateCard(card, partition, context) {
  const wanted = wantedCopies(context.view);
  const copies = `${partition.activeCopies}${wanted === null ? "" : ` of ${wanted}`} active`;
  const items = partition.items === null ? "items unknown" : `${short(partition.items)} items`;
  const summary = partition.served ? `${copies} · ${items}` : "no active master";
  const [, told, swap] = card.firstChild.children;
  setText(told, summary);
  const isReady = (node) => node.role === "slave" && node.state === "active" && !node.leaving;
  swap.hidden = !partition.served || !partition.nodes.some(isReady);
  swap.onclick = () => context.actions.switchMaster(partition.partition);
  const level = !partition.served ? "error" : partition.attention ? "warning" : "good";
  setAttribute(card, "data-level", level);
  const [, nodes, recovery] = card.children;
  drawNodes(nodes, partition.nodes, context);
  drawRecovery(recovery, partition, context.actions);
}

function drawNodes(list, nodes, context) {
  sync(list, nodes, (node) => node.key, createNode, (row, node) => updateNode(row, node, context));
}

function createNode({ key }) {
  const part = (name) => make("span", { class: name });
  // When there is no room, the host is cut, not the port.
  const at = key.lastIndexOf(":");
  const host = make("span", { class: "host" }, key.slice(0, at));
  const port = make("span", {}, key.slice(at));
  const name = make("span", { class: "key", title: key }, host, port, part("zone"));
  return make(
    "li", {}, part("role"), name, part("state"), part("acked"), part("items"), part("plan"),
    part("orders"),
  );
}

function updateNode(row, node, { view, zoned, sandbox, actions, matches }) {
  const [role, name, state, acked, items, plan, orders] = row.children;
  const process = sandbox?.get(node.key);
  setText(role, node.role);
  // Where no zone is told of any node, that it is not known needs no saying.
  const zone = node.zone ?? (zoned ? "zone ?" : "");
  setText(name.lastChild, zone);
  setAttribute(name, "title", zone === "" ? node.key : `${node.key}, ${zone}`);
  setAttribute(row, "data-role", node.role);
  setAttribute(row, "data-state", node.state);
  setAttribute(row, "data-dim", matches && !matches(node) ? "" : null);
  const leaves = node.leaving && node.state === "active";
  const lapsed = hasLapsed(node) ? ", lapsed" : "";
  setText(state, `${STATE_MARKS[node.state]} ${leaves ? "leaving" : node.state}${lapsed}`);
  setAttribute(row, "data-leaving", leaves ? "" : null);
  setAttribute(state, "data-level", lapsed ? "warning" : null);
  setAttribute(state, "title", node.lapse?.sentence ?? null);
  // That a dead node has no connection needs no saying.
  const cut = !node.linked && node.state !== "down";
  const version = node.acknowledged === 0 ? "v?" : `v${node.acknowledged}`;
  setText(acked, cut ? `no link, ${version}` : version);
  setAttribute(acked, "data-level", cut || isBehind(node, view) ? "warning" : null);
  setAttribute(acked, "title", ackTitle(node, view.version));
  setText(items, node.items === null ? "?" : short(node.items));
  const count = node.items === null ? "not asked yet" : `${whole(node.items)} items`;
  setAttribute(items, "title", `${count}, balance ${node.balance}`);
  // Only an index that gives roles can take them away in time.
  drawPlan(plan, view.wanted && node.state !== "down" ? node : null, actions);
  drawOrders(orders, node, process, actions);
}

/** Is the node going to be stopped? */
function drawPlan(place, node, actions) {
  const plans = node ? [node.leaving ? "stay" : "leave"] : [];
  const create = (plan) => {
    const label = `${plan} ${node.key}`;
    const button = make("button", { type: "button", "aria-label": label, class: "small" }, plan);
    button.addEventListener("click", () => actions[plan](node.key));
    return button;
  };
  sync(place, plans, (plan) => plan, create, () => {});
}

function ackTitle(node, version) {
  if (!node.linked) return `no connection to it; it acknowledged version ${node.acknowledged}`;
  const behind = version - node.acknowledged;
  return behind > 0 ? `map version, ${behind} behind` : "holds the newest map";
}

function drawOrders(place, node, process, actions) {
  const orders = [];
  if (process === "running") orders.push("kill", "freeze");
  if (process === "frozen") orders.push("revive", "kill");
  if (process === "dead") orders.push("revive");
  // A master that is down keeps its role because of its data: it is to be started, not forgotten.
  if (node.state === "down" && node.role !== "master") orders.push("forget");
  if (process === "frozen" || process === "dead") orders.unshift(process);
  place.hidden = orders.length === 0;
  const create = (order) => {
    if (order === process) return make("span", { class: "quiet" }, `its process is ${process}`);
    const label = `${order} ${node.key}`;
    const button = make("button", { type: "button", "aria-label": label, class: order }, order);
    button.addEventListener("click", () => {
      if (order === "forget") actions.forget(node.key);
      else actions.order(order, node.key);
    });
    return button;
  };
  sync(place, orders, (order) => order, create, () => {});
}

/** Small links to the partitions; one stop of the Tab key, then the arrow keys. */
function drawStrip(partitions) {
  const strip = byId("strip");
  strip.hidden = partitions.length <= STRIP_FROM;
  if (strip.hidden) return;
  const create = ({ partition }) => {
    const link = make("a", { href: `#p${partition}`, tabindex: "-1" });
    link.append(make("b", {}, String(partition)), make("i", { "aria-hidden": "true" }));
    return link;
  };
  sync(strip, partitions, (p) => p.partition, create, (link, partition) => {
    const level = !partition.served ? "error" : partition.attention ? "warning" : "good";
    setAttribute(link, "data-level", level);
    const marks = partition.nodes.map((node) => STATE_MARKS[node.state]).join("");
    setText(link.lastChild, marks);
    const words = { error: "no active master", warning: "needs attention", good: "good" };
    setAttribute(link, "aria-label", `Partition ${partition.partition}: ${words[level]}`);
  });
  if (!strip.querySelector("[tabindex='0']")) strip.firstElementChild.tabIndex = 0;
  strip.onkeydown ??= moveAlongStrip;
}

function moveAlongStrip(press) {
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[press.key];
  if (step === undefined || !press.target.matches("a")) return;
  const links = [...press.currentTarget.children];
  const at = Math.min(links.length - 1, Math.max(0, links.indexOf(press.target) + step));
  press.target.tabIndex = -1;
  links[at].tabIndex = 0;
  links[at].focus();
  press.preventDefault();
}
