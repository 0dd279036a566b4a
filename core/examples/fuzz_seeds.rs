//! Writes what the fuzz targets begin with into `fuzz/corpus/`: the streams of the recorded
//! transcripts, and stored maps made from them. Inputs that fuzzing found stay.

#[path = "../tests/protocol/transcripts.rs"]
mod transcripts;

use std::fs;
use std::path::Path;

use flare_core::flare_xml;
use flare_core::model::{HashSettings, NodeEntry, NodeKey, State};
use flare_core::protocol::node_line;
use flare_core::store_format;
use flare_core::stored::{StoredNode, StoredTopology};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for target in ["requests", "node_answers", "relayed", "store_format", "flare_xml"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    let mut seeds = 0;
    for talk in transcripts::all() {
        let name = talk.name.replace(' ', "-");
        let to_index = talk.to.starts_with("flarei") || talk.to == "fake index";
        let target = if to_index { "requests" } else { "node_answers" };
        let stream = if to_index { &talk.sent } else { &talk.answered };
        if !stream.is_empty() {
            // The first two bytes are the place of the cut.
            let seed = [&[7, 0], &stream[..]].concat();
            fs::write(corpus.join(target).join(&name), seed)?;
            seeds += 1;
        }
        if !to_index && !talk.sent.is_empty() {
            fs::write(corpus.join("relayed").join(&name), [&[7, 0], &talk.sent[..]].concat())?;
            seeds += 1;
        }
        if let Some(stored) = map_in(&talk.sent) {
            let bytes = store_format::encode(&stored);
            let body = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            fs::write(corpus.join("store_format").join(&name), &bytes[body..])?;
            fs::write(corpus.join("flare_xml").join(&name), flare_xml::encode(&stored))?;
            seeds += 2;
        }
    }
    println!("{seeds} seeds in {}", corpus.display());
    Ok(())
}

/// The first map that was pushed on a connection.
fn map_in(sent: &[u8]) -> Option<StoredTopology> {
    let mut stored = StoredTopology::empty(HashSettings::default());
    let end = sent.windows(5).position(|window| window == b"END\r\n")?;
    for line in sent[..end].split(|byte| *byte == b'\n') {
        if let Ok((key, entry)) = node_line::parse(line.strip_suffix(b"\r").unwrap_or(line)) {
            stored.next_thread_type = stored.next_thread_type.max(entry.thread_type + 1);
            stored.nodes.insert(key, StoredNode::new(entry));
        }
    }
    // One that needs escaping.
    let odd = NodeEntry { state: State::Down, ..NodeEntry::new_proxy(stored.next_thread_type) };
    stored.next_thread_type += 1;
    stored.nodes.insert(NodeKey::new("<é&", 1), StoredNode::new(odd));
    Some(stored)
}
