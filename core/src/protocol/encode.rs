//! What the index sends to nodes, as bytes.

use std::fmt::Write;

use bytes::Bytes;

use crate::model::{NodeEntry, NodeKey};

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
        put(
            &mut text,
            format_args!(
                "NODE {} {} {} {} {} {} {}\r\n",
                key.name(),
                key.port(),
                entry.role.number(),
                entry.state.number(),
                entry.partition,
                entry.balance,
                entry.thread_type,
            ),
        );
    }
    text.push_str("END\r\n");
    Bytes::from(text)
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string cannot fail");
}
