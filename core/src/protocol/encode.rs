//! Puts the node map into text: what the index sends to nodes, and what it answers `node add`.

use std::fmt::Write;

use bytes::Bytes;

use crate::model::{NodeEntry, NodeKey};
use crate::protocol::node_line::NodeLine;

/// A NODE line takes about this much; only the first allocation is sized by it.
const NODE_LINE_BYTES: usize = 64;

/// `node sync <version>`, the NODE lines and `END` in one piece (flare-protocol.md 3.7).
pub fn node_sync<'a>(
    version: u64,
    nodes: impl Iterator<Item = (&'a NodeKey, &'a NodeEntry)>,
) -> Bytes {
    let mut text = String::with_capacity(NODE_LINE_BYTES * (nodes.size_hint().0 + 1));
    put(&mut text, format_args!("node sync {version}\r\n"));
    for (key, entry) in nodes {
        put(&mut text, format_args!("{}\r\n", NodeLine { key, entry }));
    }
    text.push_str("END\r\n");
    Bytes::from(text)
}

/// A whole reply of one piece.
pub(crate) fn text(what: std::fmt::Arguments<'_>) -> Vec<u8> {
    what.to_string().into_bytes()
}

/// Adds to a reply.
pub(crate) fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string cannot fail");
}
