//! What an index answered, for a person. Unknown fields are passed over and missing ones shown as
//! `?`: the index may be of another version than this program.

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
    let of = |value: &Value| value.as_array().cloned().unwrap_or_default();
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

fn wanted(topology: &Value) -> String {
    match &topology["wanted"] {
        Value::Null => "assigned by hand".to_owned(),
        wanted => {
            let (partitions, copies) = (word(&wanted["partitions"]), word(&wanted["replicas"]));
            let paused = if wanted["paused"] == true { ", paused" } else { "" };
            format!("wanted: {partitions} partitions of {copies} copies{paused}")
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
    let partitions = topology["partitions"].as_array();
    let found = partitions.and_then(|all| all.iter().find(|one| one["partition"] == partition));
    match found.map(|found| &found["master"]) {
        Some(master) if !master.is_null() => {
            format!("{} is the master of partition {partition} now.\n", word(master))
        }
        _ => format!("the master of partition {partition} was swapped.\n"),
    }
}

/// A text or a number, as it is.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => "?".to_owned(),
    }
}
