//! Upstream's `flare.xml`: read to take a cluster over, written for the way back.
//!
//! A Boost archive (flare-protocol.md 9). It holds the nodes, the map's version (older files do
//! not) and the thread type counter, but not the hash settings, which flarei takes from its
//! configuration. Attributes, the archive's own version among them, are not looked at.

mod elements;
mod error;
mod settled;

use std::fmt::Write;

use quick_xml::escape::escape;

pub use error::{FlareXmlError, Problem};
pub use settled::{Unsettled, encode_settled};

use crate::model::{HashSettings, NodeEntry, NodeKey, Role, State};
use crate::stored::{StoredNode, StoredTopology};
use crate::stored_check::{self, Impossible, STORED_NODES_MAX};
use elements::Elements;

/// The largest file that is read, in bytes: 10,000 nodes with names of 150 bytes.
pub const FLARE_XML_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What precedes the map; the version is that of Boost 1.74's archives, and newer ones read it.
const HEAD: &str = "\
<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\" ?>
<!DOCTYPE boost_serialization>
<boost_serialization signature=\"serialization::archive\" version=\"18\">
";

/// Boost describes a class where it first occurs.
const CLASSES: [&str; 3] = [
    " class_id=\"0\" tracking_level=\"0\" version=\"0\"",
    " class_id=\"1\" tracking_level=\"0\" version=\"0\"",
    " class_id=\"2\" tracking_level=\"0\" version=\"0\"",
];

/// Reads a `flare.xml`; `hash` are the settings of the flarei that wrote it.
///
/// # Errors
///
/// With the line and what is wrong there.
pub fn decode(bytes: &[u8], hash: HashSettings) -> Result<StoredTopology, FlareXmlError> {
    if bytes.len() > FLARE_XML_BYTES_MAX {
        return Err(FlareXmlError { line: None, problem: Problem::TooLarge(bytes.len()) });
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        FlareXmlError { line: Some(line), problem: Problem::NotUtf8 }
    })?;
    let mut elements = Elements::new(text);
    let mut stored = StoredTopology::empty(hash);
    let archive = archive(&mut elements, &mut stored);
    archive.map_err(|problem| FlareXmlError { line: Some(elements.line()), problem })?;
    stored_check::check(&stored).map_err(|impossible| FlareXmlError {
        line: None,
        problem: Problem::Impossible(impossible),
    })?;
    Ok(stored)
}

fn archive(elements: &mut Elements<'_>, stored: &mut StoredTopology) -> Result<(), Problem> {
    elements.open("boost_serialization")?;
    let (mut version, mut nodes, mut thread_type) = (None, None, None);
    while let Some(name) = elements.child()? {
        match name.as_str() {
            "version" => elements.value_once(&name, &mut version)?,
            "thread_type" => elements.value_once(&name, &mut thread_type)?,
            "node_map" if nodes.is_none() => nodes = Some(node_map(elements, stored)?),
            _ => return Err(Problem::Unexpected(name)),
        }
    }
    elements.end()?;
    nodes.ok_or(Problem::Missing("node_map"))?;
    // Files of older versions begin with the map.
    stored.version = version.unwrap_or(0);
    stored.next_thread_type = thread_type.ok_or(Problem::Missing("thread_type"))?;
    Ok(())
}

fn node_map(elements: &mut Elements<'_>, stored: &mut StoredTopology) -> Result<(), Problem> {
    let (mut count, mut item_version) = (None, None::<u32>);
    let mut items = 0;
    while let Some(name) = elements.child()? {
        match name.as_str() {
            "count" => elements.value_once(&name, &mut count)?,
            "item_version" => elements.value_once(&name, &mut item_version)?,
            "item" => {
                items += 1;
                if items > STORED_NODES_MAX {
                    return Err(Problem::Impossible(Impossible::TooManyNodes(items)));
                }
                let (key, entry) = item(elements)?;
                if stored.nodes.insert(key.clone(), StoredNode::new(entry)).is_some() {
                    return Err(Problem::Twice(key));
                }
            }
            _ => return Err(Problem::Unexpected(name)),
        }
    }
    match count.ok_or(Problem::Missing("count"))? {
        count if count == items => Ok(()),
        count => Err(Problem::Count { count, items }),
    }
}

fn item(elements: &mut Elements<'_>) -> Result<(NodeKey, NodeEntry), Problem> {
    let (mut first, mut second) = (None::<String>, None);
    while let Some(name) = elements.child()? {
        match name.as_str() {
            "first" => elements.value_once(&name, &mut first)?,
            "second" if second.is_none() => second = Some(node(elements)?),
            _ => return Err(Problem::Unexpected(name)),
        }
    }
    let first = first.ok_or(Problem::Missing("first"))?;
    let (key, entry) = second.ok_or(Problem::Missing("second"))?;
    if key.as_str() != first {
        return Err(Problem::Key { first, second: key });
    }
    Ok((key, entry))
}

fn node(elements: &mut Elements<'_>) -> Result<(NodeKey, NodeEntry), Problem> {
    let (mut name, mut port) = (None::<String>, None::<i32>);
    let (mut role, mut state) = (None, None);
    let (mut partition, mut balance, mut thread_type) = (None, None, None);
    while let Some(element) = elements.child()? {
        match element.as_str() {
            "node_server_name" => elements.value_once(&element, &mut name)?,
            "node_server_port" => elements.value_once(&element, &mut port)?,
            "node_role" => elements.value_once(&element, &mut role)?,
            "node_state" => elements.value_once(&element, &mut state)?,
            "node_partition" => elements.value_once(&element, &mut partition)?,
            "node_balance" => elements.value_once(&element, &mut balance)?,
            "node_thread_type" => elements.value_once(&element, &mut thread_type)?,
            _ => return Err(Problem::Unexpected(element)),
        }
    }
    let role = role.ok_or(Problem::Missing("node_role"))?;
    let state = state.ok_or(Problem::Missing("node_state"))?;
    let entry = NodeEntry {
        role: Role::from_number(role).ok_or(Problem::Value("node_role"))?,
        state: State::from_number(state).ok_or(Problem::Value("node_state"))?,
        partition: partition.ok_or(Problem::Missing("node_partition"))?,
        balance: balance.ok_or(Problem::Missing("node_balance"))?,
        thread_type: thread_type.ok_or(Problem::Missing("node_thread_type"))?,
    };
    let name = name.ok_or(Problem::Missing("node_server_name"))?;
    let port = port.ok_or(Problem::Missing("node_server_port"))?;
    Ok((NodeKey::new(&name, port), entry))
}

/// Writes a `flare.xml` as upstream 1.3.4 does, byte for byte. What upstream does not store
/// (incarnations, intents, the hash settings) is left out; for flarei to go on from it, see
/// [`encode_settled`].
pub fn encode(stored: &StoredTopology) -> Vec<u8> {
    let mut xml = HEAD.to_owned();
    let mut line = |what: std::fmt::Arguments<'_>| {
        writeln!(xml, "{what}").expect("writing to a string cannot fail");
    };
    let [map_class, item_class, node_class] = CLASSES;
    line(format_args!("<version>{}</version>", stored.version));
    line(format_args!("<node_map{map_class}>"));
    line(format_args!("\t<count>{}</count>", stored.nodes.len()));
    line(format_args!("\t<item_version>0</item_version>"));
    for (at, (key, node)) in stored.nodes.iter().enumerate() {
        let (item_class, node_class) = if at == 0 { (item_class, node_class) } else { ("", "") };
        let entry = &node.entry;
        line(format_args!("\t<item{item_class}>"));
        line(format_args!("\t\t<first>{}</first>", escape(key.as_str())));
        line(format_args!("\t\t<second{node_class}>"));
        let name = escape(key.name());
        line(format_args!("\t\t\t<node_server_name>{name}</node_server_name>"));
        let numbers = [
            ("node_server_port", i64::from(key.port())),
            ("node_role", i64::from(entry.role.number())),
            ("node_state", i64::from(entry.state.number())),
            ("node_partition", i64::from(entry.partition)),
            ("node_balance", i64::from(entry.balance)),
            ("node_thread_type", i64::from(entry.thread_type)),
        ];
        for (element, number) in numbers {
            line(format_args!("\t\t\t<{element}>{number}</{element}>"));
        }
        line(format_args!("\t\t</second>"));
        line(format_args!("\t</item>"));
    }
    line(format_args!("</node_map>"));
    line(format_args!("<thread_type>{}</thread_type>", stored.next_thread_type));
    line(format_args!("</boost_serialization>\n"));
    xml.into_bytes()
}
