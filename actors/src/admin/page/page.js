// The page: holds what is known, and draws it again when any of it changes.
//
// live.js brings the news, draw.js and events.js put them on the screen, orders.js carries out
// what a person clicks. State lives here and nowhere else.

import { drawEvents } from "/events.js";
import { drawFrame, drawPartitions } from "/draw.js";
import { follow } from "/live.js";
import {
  add, closeBreaker, forget, leave, order, recover, sandboxNodes, switchMaster,
} from "/orders.js";

/** Events that are kept on the screen. */
const EVENTS_SHOWN = 200;

const state = {
  view: null,
  events: [],
  /** Node key to what its process does; null outside a sandbox. */
  sandbox: null,
  filter: "",
  attention: false,
  /** When the connection was lost, in milliseconds; null while it stands. */
  lostSince: null,
  readAt: null,
};

const byId = (id) => document.getElementById(id);
let drawing = false;

/** Draws soon, once for any number of changes. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawFrame(state, actions);
    if (state.view) drawPartitions(state, actions);
    drawEvents(state.events);
  });
}

function notice(text) {
  const element = byId("notice");
  element.textContent = text;
  element.hidden = text === "";
}

/** Runs what a person ordered, and says what came of it. */
async function run(work, done) {
  try {
    const answer = await work();
    if (answer.nodes) state.sandbox = processes(answer.nodes);
    notice(done);
  } catch (error) {
    notice(`Not done: ${error.message}`);
  }
  draw();
  live.refresh();
}

const DONE = { kill: "was killed", freeze: "was frozen", revive: "goes on" };

const actions = {
  closeBreaker: async () => {
    const text = "Close the breaker? The index fails over and assigns again, though many " +
      "nodes are dead. Do it when you know why they are.";
    if (await confirmed(text, "Leave it open", "Close it")) {
      run(closeBreaker, "The breaker was told to close.");
    }
  },
  switchMaster: async (partition) => {
    const text = `Swap the master of partition ${partition} with an active slave? Writes to it ` +
      "wait for some milliseconds. What a client writes at the old master itself in that moment " +
      "may be lost: lead clients to other nodes first.";
    if (await confirmed(text, "Leave it", "Swap it")) {
      notice(`The master of partition ${partition} is being swapped …`);
      run(() => switchMaster(partition), `The master of partition ${partition} was swapped.`);
    }
  },
  recover: async (partition, node, isEmpty) => {
    const text = isEmpty
      ? `Go on with nothing? ${node} is empty: all keys of partition ${partition} are lost, and ` +
        "what other nodes hold of them is emptied."
      : `Go on with the copy of ${node}? Writes that it lacks are lost: the other nodes of ` +
        `partition ${partition} are emptied and copied again once it serves.`;
    if (await confirmed(text, "Leave it", isEmpty ? "Go on empty" : "Go on with it")) {
      run(() => recover(partition, node), `${node} was chosen, and takes over.`);
    }
  },
  leave: async (node) => {
    const text = `Is ${node} going to be stopped? If it is a master, a slave takes over now, and ` +
      "you are told when it may be stopped. It gets no role any more, and its copy is made " +
      "elsewhere where a node is free.";
    if (await confirmed(text, "It stays", "It leaves")) {
      notice(`${node} leaves; do not stop it yet …`);
      run(() => leave(node, false), `${node} may be stopped now.`);
    }
  },
  stay: (node) => run(() => leave(node, true), `${node} stays.`),
  order: (what, node) => run(() => order(what, node), `${node} ${DONE[what]}.`),
  forget: async (node) => {
    const text =
      `Forget ${node}? It leaves the node map. If it starts again, it comes back as a new node.`;
    if (await confirmed(text, "Keep it", "Forget it")) {
      run(() => forget(node), `${node} was forgotten.`);
    }
  },
};

/** Asks once more; Escape means no. */
async function confirmed(text, no, yes) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  byId("confirm-no").textContent = no;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

const processes = (nodes) => new Map(nodes.map((node) => [node.key, node.process]));

const live = follow({
  topology(view) {
    // A push is under way for some milliseconds after each change: only a node that lacks what
    // was new at the last reading is behind.
    view.settled = Math.min(view.version, state.view?.version ?? view.version);
    state.view = view;
    state.readAt = Date.now();
    draw();
  },
  event(event) {
    const known = state.events.some((other) => other.id === event.id);
    if (!known) state.events = [event, ...state.events].slice(0, EVENTS_SHOWN);
    draw();
  },
  connected() {
    state.lostSince = null;
    draw();
  },
  lost() {
    state.lostSince ??= Date.now();
    draw();
  },
  async refreshed() {
    if (!state.view.sandbox) return;
    state.sandbox = processes(await sandboxNodes());
    draw();
  },
});

byId("filter").addEventListener("input", (input) => {
  state.filter = input.target.value.trim().toLowerCase();
  draw();
});
byId("attention").addEventListener("change", (change) => {
  state.attention = change.target.checked;
  draw();
});
byId("sandbox-add").addEventListener("click", () => run(add, "A node was added."));
// The age of what one sees is counted while the connection is lost.
setInterval(() => state.lostSince && draw(), 1000);
