// What a person orders: forget a node, and in the sandbox kill, freeze, revive and add.

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

/** `what` is kill, freeze or revive. */
export const order = (what, node) => send("POST", `/api/v1/sandbox/${what}`, { node });

/** Lets the index act again though many nodes are dead. */
export const closeBreaker = () => send("POST", "/api/v1/breaker/reset");

export const add = () => send("POST", "/api/v1/sandbox/add");

/** The sandbox's nodes; to be asked only where the topology says that there is a sandbox. */
export const sandboxNodes = async () => (await send("GET", "/api/v1/sandbox")).nodes;
