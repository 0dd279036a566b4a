// The list of recent events, newest first.

import { make, setText, sync } from "/dom.js";

const MARKS = { info: "\u00b7", warning: "\u25b2", error: "\u2715" };
const clock = (millis) => new Date(millis).toLocaleTimeString("en-GB");

export function drawEvents(events) {
  const list = document.getElementById("events");
  list.hidden = events.length === 0;
  document.getElementById("quiet-events").hidden = events.length > 0;
  sync(list, events, (event) => event.id, create, () => {});
}

function create(event) {
  const at = new Date(event.atUnixMillis);
  const time = make("time", { datetime: at.toISOString(), title: at.toString() });
  setText(time, clock(event.atUnixMillis));
  const mark = make("span", { class: "mark", title: event.severity }, MARKS[event.severity]);
  const word = make("span", { class: "hidden" }, `${event.severity}: `);
  const text = make("span", { class: "text" }, word, event.sentence);
  if (event.version !== null) text.append(make("span", { class: "quiet" }, ` v${event.version}`));
  return make("li", { class: event.severity }, time, mark, text);
}
