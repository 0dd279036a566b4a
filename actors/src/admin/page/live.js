// Brings the news: events as they happen, and the topology after each of them and now and then.
//
// The event stream says that something changed; the topology itself is read whole. Both must
// work, else the page says that the connection is lost, and goes on trying.

/** From one reading of the topology to the next when nothing happens, in milliseconds. */
const POLL_MILLIS = 2_000;
/** The same for a large cluster, and how many nodes make one. */
const POLL_LARGE_MILLIS = 5_000;
const LARGE_NODES = 300;
/** Events that come together are followed by one reading. */
const GATHER_MILLIS = 120;
/** The longest that the topology may take. */
const DEADLINE_MILLIS = 5_000;
/** Until a stream that was refused is tried again. */
const RETRY_MILLIS = 1_000;

export function follow(told) {
  let streamStands = false;
  let topologyCame = false;
  let timer = null;
  let reading = false;
  let again = false;
  let pause = POLL_MILLIS;

  const tell = () => (streamStands && topologyCame ? told.connected() : told.lost());

  const schedule = (millis) => {
    clearTimeout(timer);
    timer = setTimeout(read, millis);
  };

  async function read() {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    again = false;
    try {
      const view = await readTopology();
      pause = view.nodes.length > LARGE_NODES ? POLL_LARGE_MILLIS : POLL_MILLIS;
      topologyCame = true;
      told.topology(view);
    } catch {
      topologyCame = false;
      pause = POLL_MILLIS;
    }
    if (topologyCame) await told.refreshed().catch(() => {});
    reading = false;
    tell();
    // A page that nobody sees asks for nothing; it does when it is looked at again.
    if (again) schedule(GATHER_MILLIS);
    else if (!document.hidden) schedule(pause);
  }

  function listen() {
    const stream = new EventSource("/api/v1/events");
    stream.onopen = () => {
      streamStands = true;
      schedule(0);
    };
    stream.addEventListener("happened", (message) => {
      told.event({ id: message.lastEventId, ...JSON.parse(message.data) });
      schedule(GATHER_MILLIS);
    });
    stream.onerror = () => {
      streamStands = false;
      tell();
      // The browser comes back by itself after a broken connection, not after a refused one.
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MILLIS);
    };
  }

  document.addEventListener("visibilitychange", () => document.hidden || schedule(0));
  listen();
  read();
  return { refresh: () => schedule(GATHER_MILLIS) };
}

async function readTopology() {
  const signal = AbortSignal.timeout(DEADLINE_MILLIS);
  const response = await fetch("/api/v1/topology", { signal });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}
