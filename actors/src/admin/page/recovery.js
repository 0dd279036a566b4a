// What may be left of a partition whose master is lost, and the choice of the copy to go on with.

import { make, setText, sync, whole } from "/dom.js";

export const createRecovery = () =>
  make("section", { class: "recovery" }, make("h4"), make("ul"));

export function drawRecovery(place, partition, actions) {
  const { recovery, master } = partition;
  place.hidden = !recovery;
  if (!recovery) return;
  const copies = recovery.chosen ? [] : [...recovery.candidates];
  if (recovery.masterEmpty && !recovery.chosen) {
    const sentence = "came back empty: to go on with nothing";
    copies.push({ node: master, items: 0, sentence, isEmpty: true });
  }
  const [title, list] = place.children;
  setText(title, titleOf(recovery, copies));
  const create = (copy) => createCopy(copy, partition.partition, actions);
  sync(list, copies, ({ node }) => node, create, (row, { items, best, sentence }) => {
    const count = items === null ? "" : `${whole(items)} items; `;
    setText(row.children[1], `${best ? "the best: " : ""}${count}${sentence}`);
    // The index refuses a copy that it cannot see now.
    row.children[2].hidden = items === null;
  });
}

function titleOf({ chosen }, copies) {
  if (chosen) return `It goes on with ${chosen}, as soon as that node knows.`;
  return copies.length > 0 ? "What may be left of it" : "Nothing is known to be left of it.";
}

function createCopy({ node, isEmpty }, partition, actions) {
  const label = isEmpty ? `go on with ${node}, empty` : `go on with the copy of ${node}`;
  const attributes = { type: "button", "aria-label": label, class: isEmpty ? "danger" : "" };
  const button = make("button", attributes, isEmpty ? "go on empty" : "go on with it");
  button.addEventListener("click", () => actions.recover(partition, node, isEmpty));
  const key = make("span", { class: "key" }, node);
  return make("li", {}, key, make("span", { class: "evidence" }), button);
}
