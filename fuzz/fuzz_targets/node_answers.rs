//! Bytes as a node sends them: every answer that we wait for takes them or refuses them, cuts
//! change nothing, and a NODE line that is read is written and read again.

#![no_main]

use std::fmt::Debug;

use flare_core::protocol::LineBuffer;
use flare_core::protocol::node::{self, Reply, ReplyError};
use flare_core::protocol::node_line::{self, NodeLine};
use libfuzzer_sys::fuzz_target;

type Outcome<R> = Result<Option<<R as Reply>::Value>, ReplyError>;

fn outcome<R: Reply>(pieces: &[&[u8]]) -> Outcome<R> {
    let mut lines = LineBuffer::for_replies();
    let mut reply = R::default();
    for piece in pieces {
        lines.extend(piece);
        let taken = node::take(&mut reply, &mut lines);
        if !matches!(taken, Ok(None)) {
            return taken;
        }
    }
    Ok(None)
}

fn check<R: Reply<Value: Debug + PartialEq>>(cut: u16, stream: &[u8]) {
    let (start, end) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(outcome::<R>(&[start, end]), outcome::<R>(&[stream]));
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    check::<node::Ping>(cut, stream);
    check::<node::NodeSync>(cut, stream);
    check::<node::FlushAll>(cut, stream);
    check::<node::Version>(cut, stream);
    check::<node::Stats>(cut, stream);
    check::<node::StatsThreads>(cut, stream);
    for line in stream.split(|byte| *byte == b'\n') {
        if let Ok((key, entry)) = node_line::parse(line) {
            let written = NodeLine { key: &key, entry: &entry }.to_string();
            assert_eq!(node_line::parse(written.as_bytes()), Ok((key.clone(), entry)), "{written}");
        }
    }
});
