// What a person orders: swap a master, choose the copy to go on with, have a node leave or stay,
// forget it, close the breaker; and in the sandbox kill, freeze, revive and add.

/** Other pages cannot send this header; without it the index changes nothing. */
const HEADERS = { "x-flare-admin": "1", "content-type": "application/json" };

async function send(method, path, body) {
  const options = { method, headers: HEADERS, body: body && JSON.stringify(body) };
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `the index answered ${response.status}`);
  return answer;
}

export const forget = (node) => send("DELETE", `/api/v1/nodes/${encodeURIComponent(node)}`);

/** Swaps the master of a partition with an active slave; answered when that is over. */
export const switchMaster = (partition) =>
  send("POST", `/api/v1/partitions/${partition}/switchover`, {});

/** The partition goes on with what this node has; its master, when it is to go on with nothing. */
export const recover = (partition, from) =>
  send("POST", `/api/v1/partitions/${partition}/recover`, { from });

/** The node is going to be stopped: answered when it may be. Or, with `cancel`, it stays. */
export const leave = (node, cancel) =>
  send("POST", `/api/v1/nodes/${encodeURIComponent(node)}/leave`, { cancel });

/** `what` is kill, freeze or revive. */
export const order = (what, node) => send("POST", `/api/v1/sandbox/${what}`, { node });

/** Lets the index act again though many nodes are dead. */
export const closeBreaker = () => send("POST", "/api/v1/breaker/reset");

export const add = () => send("POST", "/api/v1/sandbox/add");

/** The sandbox's nodes; to be asked only where the topology says that there is a sandbox. */
export const sandboxNodes = async () => (await send("GET", "/api/v1/sandbox")).nodes;
