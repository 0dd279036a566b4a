//! Effects and events as the lines of a script.

use std::fmt::Write;

use flare_core::model::{NodeEntry, NodeKey};
use flare_core::topology::{Answer, ConnectingHow, Effect, Event, Targets};

pub(crate) fn show_effect(effect: &Effect, out: &mut String) -> std::fmt::Result {
    match effect {
        Effect::Publish(snapshot) => writeln!(out, "publish version {}", snapshot.version()),
        Effect::Push { snapshot, to } => {
            let version = snapshot.version();
            match to {
                Targets::AllBut(left) if left.is_empty() => {
                    writeln!(out, "push version {version} to all")
                }
                Targets::AllBut(left) => {
                    writeln!(out, "push version {version} to all but {}", names(left))
                }
                Targets::Only(nodes) => writeln!(out, "push version {version} to {}", names(nodes)),
            }
        }
        Effect::Reply { request, answer } => match answer {
            Answer::Done => writeln!(out, "answer {}: OK", request.0),
            Answer::Registered(snapshot) => {
                writeln!(out, "answer {}: the map of version {}", request.0, snapshot.version())
            }
            Answer::Refused(refusal) => writeln!(out, "answer {}: {refusal:?}", request.0),
        },
        Effect::Probe { node } => writeln!(out, "probe {node}"),
        Effect::Empty { node, intent, incarnation } => {
            let started = incarnation.started;
            writeln!(out, "empty {node} started={started} intent={intent}")
        }
        Effect::Connect { node, towards, request, .. } => {
            let by = match request.how {
                ConnectingHow::Read(times) => format!(" by {times} reads"),
                ConnectingHow::Write | ConnectingHow::WriteAsNode => String::new(),
            };
            writeln!(out, "connect {node} to those of the thread types {towards:?}{by}")
        }
        Effect::ForgetKeys { node } => writeln!(out, "delete the key on {node}"),
        Effect::FreeStuckWriters { node } => writeln!(out, "free stuck writers of {node}"),
        Effect::EndClients { node } => writeln!(out, "end the clients of {node}"),
        Effect::OpenRelay { reads_to } => {
            writeln!(out, "open relay, which reads from {reads_to}")
        }
        Effect::Introduce { node, request, towards, until } => {
            let (key, until) = (&request.key, until.0);
            writeln!(out, "read {key} through {node} until it knows {towards}, until {until}")
        }
        Effect::ReleaseRelay { to } => writeln!(out, "release relay to {to}"),
        Effect::CloseRelay => writeln!(out, "close relay"),
        Effect::WatchQueue { node, towards, until, .. } => {
            writeln!(out, "watch queue of {node} towards {towards} until {}", until.0)
        }
        Effect::WakeAt(at) => writeln!(out, "wake at {}", at.0),
        Effect::Happened(event) => show_event(event, out),
    }
}

fn show_event(event: &Event, out: &mut String) -> std::fmt::Result {
    let entry = |entry: &Option<NodeEntry>| {
        entry.map_or_else(|| "nothing".to_owned(), |entry| entry.to_string())
    };
    match event {
        Event::NodeChanged { node, from, to, why, version } => {
            writeln!(out, "{version}: {node}: {} -> {} ({why})", entry(from), entry(to))
        }
        Event::Handover { partition, what } => {
            writeln!(out, "handover of partition {partition}: {what}")
        }
        other => writeln!(out, "{other:?}"),
    }
}

pub(crate) fn names(nodes: &[NodeKey]) -> String {
    nodes.iter().map(NodeKey::as_str).collect::<Vec<_>>().join(" ")
}
