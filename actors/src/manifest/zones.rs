//! `spec.nodes.zones`: which nodes lie in which zones, from the words of the file.
//!
//! A zone's list names nodes (`10.0.0.7:12121`) and hosts (`10.0.0.7`, all nodes there), as they
//! register: a node's name is what it calls itself, not what it resolves to.

use std::collections::BTreeMap;

use flare_core::model::NodeKey;
use flare_core::protocol::words::name_is_usable;
use flare_core::zones::{InTwoZones, Zone, Zones};
use serde_saphyr::Spanned;

use super::check::PORT;
use super::problem::Gathered;

/// `spec.nodes.zones`: the most zones.
pub const ZONES_MAX: usize = 256;
/// The longest name of a zone, in bytes; a label of Kubernetes may not be longer either.
pub const ZONE_NAME_LENGTH_MAX: usize = 63;
/// The most hosts and nodes in all zones together; more than a cluster has nodes by default.
pub const ZONE_MEMBERS_MAX: usize = 8_192;

/// One name in a zone's list.
enum Member<'a> {
    Host(&'a str),
    Node(NodeKey),
}

pub(super) fn zones(
    raw: &BTreeMap<String, Vec<Spanned<String>>>,
    gathered: &mut Gathered,
) -> Zones {
    let members = raw.values().map(Vec::len).sum::<usize>();
    for (what, have, most) in
        [("zones", raw.len(), ZONES_MAX), ("hosts and nodes", members, ZONE_MEMBERS_MAX)]
    {
        if have > most {
            gathered.whole(format!("spec.nodes.zones names {have} {what}: the most is {most}"));
            return Zones::default();
        }
    }
    let mut zones = Zones::default();
    let mut nodes = Vec::new();
    for (name, members) in raw {
        check_name(name, gathered);
        let zone = Zone::new(name);
        for text in members {
            match member(&text.value) {
                Some(Member::Host(host)) => {
                    note(zones.put_host(host, zone.clone()), text, gathered);
                }
                Some(Member::Node(node)) => nodes.push((node, zone.clone(), text)),
                None => {
                    let found = &text.value;
                    let sentence = format!(
                        "spec.nodes.zones has `{found}` in {name}: it must be a node, such as \
                         10.0.0.7:12121, or a host with all its nodes, such as 10.0.0.7"
                    );
                    gathered.at(text, sentence);
                }
            }
        }
    }
    for (node, zone, text) in nodes {
        note(zones.put_node(node, zone), text, gathered);
    }
    zones
}

fn check_name(name: &str, gathered: &mut Gathered) {
    let barred = |c: char| c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > ZONE_NAME_LENGTH_MAX || name.contains(barred) {
        gathered.whole(format!(
            "spec.nodes.zones has a zone `{}`: its name must have 1 to {ZONE_NAME_LENGTH_MAX} \
             bytes, without blanks",
            name.escape_debug()
        ));
    }
}

fn member(text: &str) -> Option<Member<'_>> {
    if !text.contains(':') {
        return Some(Member::Host(text)).filter(|_| name_is_usable(text));
    }
    let node = NodeKey::parse(text)?;
    (name_is_usable(node.name()) && PORT.contains(&node.port().into()))
        .then_some(Member::Node(node))
}

fn note(put: Result<(), InTwoZones>, text: &Spanned<String>, gathered: &mut Gathered) {
    if let Err(wrong) = put {
        gathered.at(text, format!("spec.nodes.zones contradicts itself: {wrong}"));
    }
}
