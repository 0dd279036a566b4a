//! What an index answered, for a person. Unknown fields are passed over and missing ones shown as
//! `?`: the index may be of another version than this program.

use flare_core::model::NodeKey;
use serde_json::Value;

use crate::columns;

/// `flare-operator status`.
pub(super) fn status(topology: &Value, circuit: &Value) -> String {
    let mut text = format!(
        "{}, map version {}, {}\n{}\n",
        word(&topology["cluster"]),
        word(&topology["version"]),
        wanted(topology),
        breaker(circuit).lines().next().unwrap_or_default(),
    );
    let nodes = of(&topology["nodes"]);
    let mut rows = vec![["partition", "master", "slaves", "items"].map(str::to_owned).to_vec()];
    for partition in of(&topology["partitions"]) {
        let slaves: Vec<String> =
            of(&partition["slaves"]).iter().map(|key| named(key, &nodes)).collect();
        let items = &partition["items"];
        rows.push(vec![
            word(&partition["partition"]),
            if partition["master"].is_null() {
                "none".to_owned()
            } else {
                named(&partition["master"], &nodes)
            },
            if slaves.is_empty() { "none".to_owned() } else { slaves.join(", ") },
            if items.is_null() { "?".to_owned() } else { word(items) },
        ]);
    }
    text += &format!("\n{}", columns::aligned(&rows));
    for partition in of(&topology["partitions"]) {
        text += &left_of(&partition, &nodes);
    }
    let spare = nodes.iter().filter(|node| node["partition"].is_null());
    let spare: Vec<String> = spare.map(|node| named(&node["key"], &nodes)).collect();
    if !spare.is_empty() {
        text += &format!("\nwithout a partition: {}\n", spare.join(", "));
    }
    let troubles = of(&topology["troubles"]).into_iter().map(|trouble| word(&trouble));
    let blocked = of(&topology["blocked"]).into_iter().map(|what| word(&what["sentence"]));
    let ways: Vec<String> = troubles.chain(blocked).map(|what| format!("- {what}\n")).collect();
    if !ways.is_empty() {
        text += &format!("\nin the way:\n{}", ways.concat());
    }
    text
}

/// What a partition whose master does not serve may go on with, and how it is told to.
fn left_of(partition: &Value, nodes: &[Value]) -> String {
    let (recovery, number) = (&partition["recovery"], word(&partition["partition"]));
    if recovery.is_null() {
        return String::new();
    }
    if !recovery["chosen"].is_null() {
        let chosen = named(&recovery["chosen"], nodes);
        return format!("\npartition {number} goes on with {chosen}, as soon as it knows that\n");
    }
    let mut rows = vec![["copy", "items", "evidence"].map(str::to_owned).to_vec()];
    for copy in of(&recovery["candidates"]) {
        let best = if copy["best"] == true { "the best: " } else { "" };
        let evidence = format!("{best}{}", word(&copy["sentence"]));
        rows.push(vec![named(&copy["node"], nodes), word(&copy["items"]), evidence]);
    }
    if recovery["masterEmpty"] == true {
        let evidence = "the master itself came back empty: to go on with nothing".to_owned();
        rows.push(vec![named(&partition["master"], nodes), "0".to_owned(), evidence]);
    }
    if rows.len() == 1 {
        return format!("\nnothing is known to be left of partition {number} but its master\n");
    }
    format!(
        "\nwhat may be left of partition {number}:\n{}\
         to go on with one: flare-operator recover {number} --from NAME:PORT\n",
        columns::aligned(&rows)
    )
}

fn of(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn wanted(topology: &Value) -> String {
    match &topology["wanted"] {
        Value::Null => "assigned by hand".to_owned(),
        wanted => {
            let counted = |count: &Value, one: &str, many: &str| {
                format!("{} {}", word(count), if *count == 1 { one } else { many })
            };
            let partitions = counted(&wanted["partitions"], "partition", "partitions");
            let copies = counted(&wanted["replicas"], "copy", "copies");
            let paused = if wanted["paused"] == true { ", paused" } else { "" };
            format!("wanted: {partitions} of {copies}{paused}")
        }
    }
}

/// A node, with what is out of the ordinary about it.
fn named(key: &Value, nodes: &[Value]) -> String {
    let Some(node) = nodes.iter().find(|node| node["key"] == *key) else { return word(key) };
    let mut marks = Vec::new();
    if node["state"] != "active" {
        marks.push(word(&node["state"]));
    } else if node["linked"] == false {
        marks.push("not connected".to_owned());
    }
    if node["role"] != "proxy" && !node["lapse"].is_null() {
        marks.push("lapsed".to_owned());
    }
    if node["leaving"] == true {
        marks.push("leaving".to_owned());
    }
    match node["zone"].as_str() {
        Some(zone) => marks.push(format!("in {zone}")),
        None if nodes.iter().any(|node| node["zone"].is_string()) => {
            marks.push("zone unknown".to_owned());
        }
        None => {}
    }
    if marks.is_empty() { word(key) } else { format!("{} ({})", word(key), marks.join(", ")) }
}

/// `flare-operator breaker status`.
pub(super) fn breaker(breaker: &Value) -> String {
    let [assigned, dead, unheard] =
        ["assigned", "dead", "unheard"].map(|name| word(&breaker[name]));
    let of = |name: &str| word(&breaker["settings"][name]);
    if breaker["settings"]["enabled"] == false {
        return "the circuit breaker is switched off: it never opens\n".to_owned();
    }
    let means = match breaker["state"].as_str() {
        Some("closed") => "closed",
        Some("open") => "OPEN, the index does not act",
        Some("recovering") => "RECOVERING, the index does not act yet",
        Some("overridden") => "closed by a person; it opens when one more node dies",
        _ => "in a state that this program does not know",
    };
    let mut text =
        format!("circuit breaker: {means} ({dead} of {assigned} nodes with a role are dead");
    if breaker["unheard"] != 0 {
        text += &format!(", {unheard} not heard from yet");
    }
    text += &format!(
        ")\nit opens at {} % dead and {} dead nodes at least, and ",
        of("tripThresholdPercent"),
        of("minDeadNodes")
    );
    text += &match breaker["settings"]["autoResetEnabled"] == true {
        true => format!("closes by itself when {} % stay healthy\n", of("resetThresholdPercent")),
        false => "waits for a person to close it: flare-operator breaker reset\n".to_owned(),
    };
    text
}

/// `flare-operator switchover`.
pub(super) fn switched(partition: u32, topology: &Value) -> String {
    match &partition_of(topology, partition)["master"] {
        Value::Null => format!("the master of partition {partition} was swapped.\n"),
        master => format!("{} is the master of partition {partition} now.\n", word(master)),
    }
}

/// Is this node the master of the partition, and serves it?
pub(super) fn serves(topology: &Value, partition: u32, node: &NodeKey) -> bool {
    let found = partition_of(topology, partition);
    found["master"] == node.as_str() && found["served"] == true
}

/// `flare-operator recover`.
pub(super) fn recovered(partition: u32, from: &NodeKey, serves: bool) -> String {
    match serves {
        true => format!("{from} is the master of partition {partition} now.\n"),
        false => format!(
            "{from} was chosen and is not the master of partition {partition} yet: it becomes it \
             when it has taken its role in. Look at flare-operator status.\n"
        ),
    }
}

fn partition_of(topology: &Value, partition: u32) -> Value {
    let found = of(&topology["partitions"]).into_iter().find(|one| one["partition"] == partition);
    found.unwrap_or_default()
}

/// A text or a number, as it is.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lost(recovery: &Value) -> Value {
        json!({
            "cluster": "games", "version": 9,
            "wanted": {"partitions": 1, "replicas": 2, "paused": false},
            "nodes": [
                {"key": "a:1", "role": "master", "state": "down"},
                {"key": "b:1", "role": "proxy", "state": "active", "partition": null},
                {"key": "c:1", "role": "proxy", "state": "down", "partition": null},
            ],
            "partitions": [{
                "partition": 0, "master": "a:1", "slaves": [], "items": 0, "served": false,
                "recovery": recovery,
            }],
        })
    }

    #[test]
    fn what_is_left_of_a_lost_partition_is_listed_with_the_way_to_go_on() {
        let candidates = json!([
            {"node": "b:1", "items": 7, "best": true, "sentence": "whole up to 8"},
            {"node": "c:1", "items": null, "best": false, "sentence": "never complete"},
        ]);
        let view = lost(&json!({"masterEmpty": true, "candidates": candidates, "chosen": null}));
        let told = status(&view, &json!({}));
        assert!(
            told.starts_with("games, map version 9, wanted: 1 partition of 2 copies\n"),
            "{told}"
        );
        let left = "what may be left of partition 0:\n\
                    copy        items  evidence\n\
                    b:1         7      the best: whole up to 8\n\
                    c:1 (down)  ?      never complete\n\
                    a:1 (down)  0      the master itself came back empty: to go on with nothing\n\
                    to go on with one: flare-operator recover 0 --from NAME:PORT\n";
        assert!(told.contains(left), "{told}");
    }

    #[test]
    fn a_lost_partition_with_a_chosen_copy_or_without_any_is_told_in_a_line() {
        let view = lost(&json!({"masterEmpty": true, "candidates": [], "chosen": "b:1"}));
        let told = status(&view, &json!({}));
        assert!(
            told.contains("partition 0 goes on with b:1, as soon as it knows that\n"),
            "{told}"
        );
        let view = lost(&json!({"masterEmpty": false, "candidates": [], "chosen": null}));
        let told = status(&view, &json!({}));
        assert!(
            told.contains("nothing is known to be left of partition 0 but its master"),
            "{told}"
        );
        assert!(!told.contains("flare-operator recover"), "{told}");
    }
}
