// What a topology means: pure functions, without a screen.

/** Does it lack a map that it should have by now? A node that is down is told nothing. */
export const isBehind = (node, view) => node.state !== "down" && node.acknowledged < view.settled;

export const needsAttention = (node, view) =>
  node.state !== "active" || !node.linked || isBehind(node, view) || hasLapsed(node);

/** May its copy lack writes? (What a proxy holds is no copy that anybody reads.) */
export const hasLapsed = (node) => Boolean(node.lapse) && node.role !== "proxy";

/** The copies that a partition should have; unknown in manual mode. */
export const wantedCopies = (view) => view.wanted?.replicas ?? null;

export function partitionNeedsAttention(partition, nodes, view) {
  const short = partition.activeCopies < (wantedCopies(view) ?? 0);
  return !partition.served || short || nodes.some((node) => needsAttention(node, view));
}

/** Everything that the header and the cards need, counted once. */
export function judge(view) {
  const byKey = new Map(view.nodes.map((node) => [node.key, node]));
  const partitions = view.partitions.map((partition) => {
    const keys = [partition.master, ...partition.slaves].filter((key) => key !== null);
    const nodes = keys.map((key) => byKey.get(key)).filter((node) => node !== undefined);
    const attention = partitionNeedsAttention(partition, nodes, view);
    return { ...partition, nodes, attention };
  });
  const count = (holds) => view.nodes.filter(holds).length;
  return {
    partitions,
    spare: view.nodes.filter((node) => node.partition === null),
    down: count((node) => node.state === "down"),
    preparing: count((node) => node.state === "prepare" || node.state === "ready"),
    behind: count((node) => isBehind(node, view)),
    items: partitions.reduce((sum, partition) => sum + (partition.items ?? 0), 0),
    unserved: partitions.filter((partition) => !partition.served),
    short: partitions.filter((p) => p.served && p.activeCopies < (wantedCopies(view) ?? 0)),
  };
}

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
const numbers = (partitions) => {
  const shown = partitions.slice(0, 8).map((partition) => partition.partition).join(", ");
  return partitions.length > 8 ? `${shown} and ${partitions.length - 8} more` : shown;
};

/** One sentence for the person who was just woken, and how bad it is. */
export function verdict(view, judged) {
  const { unserved, short, down, preparing } = judged;
  if (view.nodes.length === 0) {
    const text = "No node has registered yet: start flared with this index as index-servers.";
    return { level: "warning", text };
  }
  if (unserved.length > 0) {
    const which = unserved.length === 1 ? "Partition" : "Partitions";
    const has = unserved.length === 1 ? "has" : "have";
    const text = `${which} ${numbers(unserved)} ${has} no active master: `;
    return { level: "error", text: `${text}those keys cannot be written.` };
  }
  if (!view.ready) return { level: "error", text: view.troubles[0] };
  if (judged.partitions.length === 0) {
    const nodes = plural(view.nodes.length, "node is", "nodes are");
    return { level: "warning", text: `${nodes} registered; no partition has a master yet.` };
  }
  const parts = [];
  if (down > 0) parts.push(plural(down, "node is down", "nodes are down"));
  if (preparing > 0) parts.push(plural(preparing, "node is copying", "nodes are copying"));
  if (short.length > 0) {
    const which = short.length === 1 ? "partition" : "partitions";
    parts.push(`${which} ${numbers(short)} ${short.length === 1 ? "is" : "are"} short of copies`);
  }
  if (parts.length > 0) {
    const level = down > 0 || short.length > 0 ? "warning" : "info";
    return { level, text: `All partitions are served. ${sentence(parts)}` };
  }
  const text = `All well: ${plural(view.partitions.length, "partition", "partitions")} served by ` +
    `${plural(view.nodes.length, "node", "nodes")}.`;
  return { level: "good", text };
}

function sentence(parts) {
  const text = parts.join("; ");
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
