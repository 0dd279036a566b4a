//! Reads a transcript as instructions for a replay on the index's side: what clients, nodes and
//! the recording person do, and what the index must then send.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::transcript::{Event, Side, Transcript};

/// Recorded port of a node; it stands for the node.
pub(super) type NodePort = u16;

/// One instruction, with the line of the transcript it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) line: usize,
    pub(super) act: Act,
}

/// What to do, or what to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Connect to the index, as this node if it is one.
    Connect { conn: u32, node: Option<NodePort> },
    /// Send bytes to the index, in one write.
    Send { conn: u32, bytes: Vec<u8> },
    /// The index must send this line (or part of one).
    Reply { conn: u32, bytes: Vec<u8> },
    /// Ask `stats threads` until the index answers these lines: when a thread appears and goes is
    /// a matter of time.
    Listing { conn: u32, command: Vec<u8>, lines: Vec<Vec<u8>> },
    /// The index must send nothing for this long.
    Silence { conn: u32, within: Duration },
    /// Close the connection.
    Close { conn: u32 },
    /// The index must close the connection.
    Closed { conn: u32 },
    /// The index must ping the node.
    Pinged(NodePort),
    /// The index must send the node this `node sync`.
    Told { node: NodePort, push: Vec<u8> },
    /// What the recording person did, or saw a process do.
    Person(Deed),
    /// A node that was asked to end closes what is left.
    Ended(NodePort),
}

/// What a person did to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// SIGKILL.
    Kill(NodePort),
    /// SIGSTOP.
    Freeze(NodePort),
    /// SIGCONT, to the one that is stopped.
    Thaw,
    /// SIGTERM, or a restart in an orderly way.
    Terminate(NodePort),
    /// It was seen to have ended.
    End(NodePort),
    /// The index: SIGKILL.
    KillIndex,
    /// The index: started again on what it stored.
    StartIndex,
    /// The index: killed, its store deleted, started again.
    EmptyIndex,
}

/// What a connection of the recording is, seen from the index.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// To the index: the replay makes it.
    ToIndex,
    /// From the index to a node.
    Monitor(NodePort),
    /// Some other connection to a node: it only tells when the node ended.
    AtNode(NodePort),
    /// Between others.
    Foreign,
}

/// Turns a transcript into instructions.
pub(super) fn script(transcript: &Transcript) -> Vec<Instruction> {
    let refused: BTreeSet<u32> = transcript
        .steps
        .iter()
        .filter_map(|step| match step.event {
            Event::Refused { conn } => Some(conn),
            _ => None,
        })
        .collect();
    let mut reader = Reader::default();
    for step in &transcript.steps {
        if step.event.conn().is_some_and(|conn| refused.contains(&conn)) {
            continue;
        }
        reader.take(step.line, &step.event);
    }
    reader.out
}

#[derive(Debug, Default)]
struct Reader {
    kinds: BTreeMap<u32, Kind>,
    /// The `node sync` of which only a part has been seen, by connection.
    pushes: BTreeMap<u32, Vec<u8>>,
    closed: BTreeSet<u32>,
    leaving: BTreeSet<NodePort>,
    out: Vec<Instruction>,
}

impl Reader {
    fn take(&mut self, line: usize, event: &Event) {
        let act = match event {
            Event::Note(text) => self.note(text),
            Event::Open { conn, from, to, .. } => self.open(*conn, from, to),
            Event::Data { conn, from, bytes } => self.data(*conn, *from, bytes),
            Event::Closed { conn, by } | Event::Reset { conn, by } => self.close(*conn, *by),
            Event::NoReply { conn, within } => Some(Act::Silence { conn: *conn, within: *within }),
            Event::Refused { .. } => None,
        };
        if let Some(act) = act {
            self.out.push(Instruction { line, act });
        }
    }

    fn note(&mut self, text: &str) -> Option<Act> {
        let deed = deed(text)?;
        if let Deed::Terminate(node) = deed {
            self.leaving.insert(node);
        }
        Some(Act::Person(deed))
    }

    fn open(&mut self, conn: u32, from: &str, to: &str) -> Option<Act> {
        let kind = if to.starts_with("flarei") {
            Kind::ToIndex
        } else {
            match port(to) {
                Some(node) if from == "flarei(monitor)" => Kind::Monitor(node),
                Some(node) if from.starts_with("(unidentified") => Kind::AtNode(node),
                _ => Kind::Foreign,
            }
        };
        self.kinds.insert(conn, kind);
        matches!(kind, Kind::ToIndex).then(|| Act::Connect { conn, node: port(from) })
    }

    /// Whether the line belongs to the listing that the last instruction asks for.
    fn goes_on(&mut self, conn: u32, bytes: &[u8]) -> bool {
        match self.out.last_mut().map(|last| &mut last.act) {
            Some(Act::Listing { conn: asked, lines, .. }) if *asked == conn => {
                lines.push(bytes.to_vec());
                true
            }
            _ => false,
        }
    }

    fn data(&mut self, conn: u32, from: Side, bytes: &[u8]) -> Option<Act> {
        match (*self.kinds.get(&conn)?, from) {
            (Kind::ToIndex, Side::Client) => {
                // lines that follow each other were sent in one segment
                if let Some(Instruction { act: Act::Send { conn: last, bytes: sent }, .. }) =
                    self.out.last_mut()
                    && *last == conn
                {
                    sent.extend_from_slice(bytes);
                    return None;
                }
                let command = bytes.to_vec();
                Some(if bytes.starts_with(b"stats threads") {
                    Act::Listing { conn, command, lines: Vec::new() }
                } else {
                    Act::Send { conn, bytes: command }
                })
            }
            (Kind::ToIndex, Side::Server) if self.goes_on(conn, bytes) => None,
            (Kind::ToIndex, Side::Server) => Some(Act::Reply { conn, bytes: bytes.to_vec() }),
            (Kind::Monitor(node), Side::Client) => {
                if bytes == b"ping\r\n" {
                    return Some(Act::Pinged(node));
                }
                let push = self.pushes.entry(conn).or_default();
                push.extend_from_slice(bytes);
                let whole = bytes == b"END\r\n";
                whole.then(|| Act::Told { node, push: std::mem::take(push) })
            }
            _ => None,
        }
    }

    fn close(&mut self, conn: u32, by: Side) -> Option<Act> {
        match (self.kinds.get(&conn)?, by) {
            (Kind::ToIndex, Side::Client) => {
                self.closed.insert(conn);
                Some(Act::Close { conn })
            }
            (Kind::ToIndex, Side::Server) => {
                (!self.closed.contains(&conn)).then_some(Act::Closed { conn })
            }
            (Kind::Monitor(node) | Kind::AtNode(node), Side::Server) => {
                self.leaving.remove(node).then_some(Act::Ended(*node))
            }
            _ => None,
        }
    }
}

/// What a note says was done; none if it only explains.
fn deed(text: &str) -> Option<Deed> {
    let node = port(text);
    let says = |part: &str| text.contains(part);
    if says("its node map is deleted, and it is started again") {
        Some(Deed::EmptyIndex)
    } else if text == "flarei is killed with SIGKILL" {
        Some(Deed::KillIndex)
    } else if says("flarei is started again") {
        Some(Deed::StartIndex)
    } else if text == "SIGCONT" {
        Some(Deed::Thaw)
    } else if says("SIGKILL") {
        node.map(Deed::Kill)
    } else if says("SIGSTOP") {
        node.map(Deed::Freeze)
    } else if says("receives SIGTERM") || says("is restarted") {
        node.map(Deed::Terminate)
    } else if says("exited with status") {
        node.map(Deed::End)
    } else {
        None
    }
}

/// The port in `flared:12121…`.
fn port(name: &str) -> Option<NodePort> {
    let digits = name.split_once("flared:")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(text: &str) -> Vec<Act> {
        let transcript = Transcript::parse("t", text).unwrap();
        script(&transcript).into_iter().map(|i| i.act).collect()
    }

    #[test]
    fn a_push_in_pieces_is_one_push_at_its_end() {
        let text = "@ +0.0 c1 (already open) flarei(monitor) -> flared:12121\n\
                    C> node sync 6\\r\\n\n\
                    @ +0.0 c2 open admin -> flarei\nC> ping\\r\\n\nC> meta\\r\\n\nS> OK\\r\\n\n\
                    @ +0.1 c1\nC> NODE x\\r\\n\nC> END\\r\\n\nS> OK\\r\\n\n\
                    @ +1.0 c1\nC> ping\\r\\n\n";
        assert_eq!(
            acts(text),
            [
                Act::Connect { conn: 2, node: None },
                Act::Send { conn: 2, bytes: b"ping\r\nmeta\r\n".to_vec() },
                Act::Reply { conn: 2, bytes: b"OK\r\n".to_vec() },
                Act::Told { node: 12121, push: b"node sync 6\r\nNODE x\r\nEND\r\n".to_vec() },
                Act::Pinged(12121),
            ]
        );
    }

    #[test]
    fn who_closes_and_who_refuses_matters_on_connections_to_the_index_only() {
        let text = "@ +0.0 c1 open client -> flarei:12120\n@ +0.0 c1 closed by S\n\
                    @ +0.0 c2 open admin -> flarei\n@ +0.0 c2 closed by C\n\
                    @ +0.0 c2 closed by S\n@ +0.0 c3 open flared:12121 -> flarei\n\
                    @ +0.0 c3 connection refused\n@ +0.0 c4 open data client -> flared:12121\n\
                    C> get k\\r\\n\n@ +0.0 c4 closed by S\n";
        assert_eq!(
            acts(text),
            [
                Act::Connect { conn: 1, node: None },
                Act::Closed { conn: 1 },
                Act::Connect { conn: 2, node: None },
                Act::Close { conn: 2 },
            ]
        );
    }

    #[test]
    fn notes_that_say_what_was_done_are_told_from_comments() {
        for (text, expected) in [
            ("flared:12121 (master of partition 0) is killed with SIGKILL", Deed::Kill(12121)),
            ("flared:12122 (slave) is stopped with SIGSTOP (its …)", Deed::Freeze(12122)),
            ("SIGCONT", Deed::Thaw),
            ("flared:12125 (proxy) receives SIGTERM", Deed::Terminate(12125)),
            ("flared:12122 exited with status 0 after 0.5 s", Deed::End(12122)),
            ("flarei is killed with SIGKILL", Deed::KillIndex),
            ("flarei is started again with its old node map file", Deed::StartIndex),
        ] {
            assert_eq!(deed(text), Some(expected), "{text}");
        }
        for text in ["node map is read back", "admin: node remove 12122", "roles", "before"] {
            assert_eq!(deed(text), None, "{text}");
        }
    }
}
