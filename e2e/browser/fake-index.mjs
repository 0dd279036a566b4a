// An index that is played: it serves the page's own files, and answers as a test tells it to.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const PARTS = fileURLToPath(new URL("../../actors/src/admin/page/", import.meta.url));
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
/** Where the policy of the real server stands, so that the page is tried under the same. */
const SERVER_SOURCE = fileURLToPath(new URL("../../actors/src/admin/page.rs", import.meta.url));

export class FakeIndex {
  constructor() {
    this.view = topology([]);
    this.readers = new Set();
    this.orders = [];
    /** What came with orders, in their sequence. */
    this.bodies = [];
    /** A sentence with which every order is refused. */
    this.refusal = null;
    this.numbers = 0;
  }

  static async start() {
    const index = new FakeIndex();
    const source = await readFile(SERVER_SOURCE, "utf8");
    const policy = /CONTENT_SECURITY_POLICY: &str = "([^"]*)"/.exec(source)[1];
    index.policy = policy.replace(/\\\s+/g, "");
    await index.listen(0);
    return index;
  }

  async listen(port) {
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
  }

  /** Dies as a process does: nobody listens, and all connections end. */
  async die() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    this.readers.clear();
    await closed;
  }

  happen(event) {
    const number = ++this.numbers;
    const usual = { kind: "node_changed", severity: "info", node: null, version: null };
    const whole = { number, atUnixMillis: Date.now(), ...usual, ...event };
    for (const reader of this.readers) reader.write(encode(number, whole));
  }

  async answer(request, response) {
    const { method, url } = request;
    this.orders.push(`${method} ${decodeURIComponent(url)}`);
    response.setHeader("content-security-policy", this.policy);
    if (url === "/api/v1/topology") return json(response, this.view);
    if (url === "/api/v1/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("retry: 50\n\n");
      this.readers.add(response);
      request.on("close", () => this.readers.delete(response));
      return undefined;
    }
    if (method !== "GET" && request.headers["x-flare-admin"]) {
      this.bodies.push(await text(request));
      if (this.refusal) return json(response, { error: this.refusal }, 409);
      return json(response, {});
    }
    const name = url === "/" ? "index.html" : url.slice(1);
    try {
      response.setHeader("content-type", TYPES[name.split(".").at(-1)]);
      response.end(await readFile(PARTS + name));
    } catch {
      response.writeHead(404).end();
    }
    return undefined;
  }
}

const encode = (id, event) => `id: 1.${id}\nevent: happened\ndata: ${JSON.stringify(event)}\n\n`;

async function text(request) {
  const chunks = await request.toArray();
  return Buffer.concat(chunks).toString();
}

function json(response, value, status = 200) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

/** One node; what is not named is as in good times. */
export const node = (key, role, partition, more = {}) => ({
  key, role, partition, state: "active", balance: 1, threadType: 16, acknowledged: 7, linked: true,
  items: 1000, copying: false, startedUnixSeconds: 1, leaving: false, ...more,
});

/** The topology of these nodes, as `GET /api/v1/topology` shows it. */
export function topology(nodes, more = {}) {
  const count = Math.max(-1, ...nodes.map((one) => one.partition ?? -1)) + 1;
  const partitions = Array.from({ length: count }, (_, partition) => {
    const members = nodes.filter((one) => one.partition === partition);
    const master = members.find((one) => one.role === "master");
    return {
      partition,
      master: master?.key ?? null,
      slaves: members.filter((one) => one.role === "slave").map((one) => one.key),
      served: master?.state === "active",
      activeCopies: members.filter((one) => one.state === "active").length,
      items: master?.items ?? null,
      recovery: null,
    };
  });
  return {
    cluster: "games", mode: "automatic", wanted: { partitions: count, replicas: 2, paused: false },
    version: 7, generation: 7, ready: true, troubles: [], partitions, nodes, blocked: [],
    reduction: null, hash: {}, manifest: null, sandbox: false, ...more,
  };
}
