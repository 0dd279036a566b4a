//! The commands of a node (flare-protocol.md 4): what a request line means. Nothing here is
//! executed; a line that means nothing is answered `ERROR`.

mod administration;
mod read;
mod statistics;
mod write;

use bytes::Bytes;

pub(crate) use administration::Dump;
pub(crate) use statistics::{Statistics, ThreadFilter};
pub(crate) use write::{Options, Write};

use super::words::Words;

/// Longest first word, server name: upstream's small token buffer less one.
const MAX_WORD: usize = 1023;
/// Longest key: upstream's large token buffer less one.
const MAX_KEY: usize = 8191;

/// A request line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The nodes that passed it on, sender last; empty for a client's own request.
    pub(crate) prefix: Vec<String>,
    pub(crate) command: Command,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `get`, or `gets` with `versions`.
    Get {
        keys: Vec<Bytes>,
        versions: bool,
    },
    Keys {
        prefixes: Vec<Bytes>,
        limit: usize,
    },
    Write(Write),
    Dump(Dump),
    FlushAll {
        noreply: bool,
    },
    /// The `NODE` lines and `END` follow.
    NodeSync {
        version: u64,
    },
    Ping,
    Version,
    Verbosity {
        noreply: bool,
    },
    Statistics(Statistics),
    ShowVariables,
    Kill(u32),
    Quit,
    /// `quit x`: no answer and no consequence.
    Nothing,
}

impl Request {
    /// None for a line that upstream answers with `ERROR`.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let (prefix, rest) = split_prefix(line);
        let mut words = Words::new(rest);
        let name = words.word(MAX_WORD);
        let command = match name {
            b"get" | b"gets" => read::get(&mut words, name == b"gets"),
            b"keys" => read::keys(&mut words),
            b"dump" => administration::dump(&mut words, false).map(Command::Dump),
            b"dump_key" => administration::dump(&mut words, true).map(Command::Dump),
            b"flush_all" => administration::flush_all(&mut words),
            b"node" => administration::node(&mut words),
            b"ping" => words.is_done().then_some(Command::Ping),
            b"version" => words.is_done().then_some(Command::Version),
            b"verbosity" => administration::verbosity(&mut words),
            b"stats" => statistics::parse(&mut words).map(Command::Statistics),
            b"show" => (words.word(MAX_WORD) == b"variables").then_some(Command::ShowVariables),
            b"kill" => administration::kill(&mut words),
            b"quit" => Some(if words.is_done() { Command::Quit } else { Command::Nothing }),
            _ => write::parse(name, &mut words).map(Command::Write),
        }?;
        Some(Self { prefix, command })
    }

    /// The name under which `stats threads` shows the request.
    pub(crate) fn op(&self) -> &'static str {
        match &self.command {
            Command::Get { versions: false, .. } => "get",
            Command::Get { versions: true, .. } => "gets",
            Command::Keys { .. } => "keys",
            Command::Write(write) => write.op(),
            Command::Dump(dump) if dump.keys_only => "dump_key",
            Command::Dump(_) => "dump",
            Command::FlushAll { .. } => "flush_all",
            Command::NodeSync { .. } => "node_sync",
            Command::Ping => "ping",
            Command::Version => "version",
            Command::Verbosity { .. } => "verbosity",
            Command::Statistics(_) => "stats",
            Command::ShowVariables => "show",
            Command::Kill(_) => "kill",
            Command::Quit | Command::Nothing => "quit",
        }
    }
}

/// Cuts `<a:1,b:2>` off the start of a line.
fn split_prefix(line: &[u8]) -> (Vec<String>, &[u8]) {
    let none = (Vec::new(), line);
    let Some(rest) = line.strip_prefix(b"<") else { return none };
    let Some(end) = rest.iter().position(|b| *b == b'>') else { return none };
    let nodes = rest[..end].split(|b| *b == b',');
    let nodes = nodes.map(|node| String::from_utf8_lossy(node).into_owned()).collect();
    (nodes, &rest[end + 1..])
}

#[cfg(test)]
mod tests;
