//! The body of `stats threads`: who is connected and what each one does (flare-protocol.md 4.9).
//!
//! ```text
//! STAT <id>:type <n>
//! STAT <id>:peer <host>:<port>         (`:0` when there is none)
//! STAT <id>:op <word>                  (empty while it waits)
//! STAT <id>:uptime <seconds>
//! STAT <id>:state wait|execute|connect
//! STAT <id>:info                       (always empty)
//! STAT <id>:queue <n>
//! STAT <id>:behind <seconds>
//! … (eight lines per thread)
//! END
//! ```
//!
//! Upstream has a thread per connection and per node; here each stands for one of our sessions
//! and links, so that flare-tools see what they look for and `kill` finds its ids.

use std::fmt::{self, Display};

use crate::protocol::encode::{put, text};

/// A thread takes about this much; only the first allocation is sized by it.
const THREAD_BYTES: usize = 192;

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadKind {
    /// A client's connection, 1.
    Request,
    /// The clock, 2.
    Alarm,
    /// What serialises changes, 4.
    Controller,
    /// The connection to a node: the node's thread type, 16 or more.
    Monitor(u32),
}

impl ThreadKind {
    /// The number in the `type` line.
    pub fn number(self) -> u32 {
        match self {
            Self::Request => 1,
            Self::Alarm => 2,
            Self::Controller => 4,
            Self::Monitor(thread_type) => thread_type,
        }
    }
}

/// What a thread does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// Nothing.
    Wait,
    /// Opens its connection.
    Connect,
    /// Carries a command out.
    Execute,
}

impl Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "wait",
            Self::Connect => "connect",
            Self::Execute => "execute",
        })
    }
}

/// One thread of `stats threads`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thread {
    /// What `kill` takes.
    pub id: u32,
    /// What it is for.
    pub kind: ThreadKind,
    /// The other end, `<host>:<port>`; none for threads without a connection.
    pub peer: Option<String>,
    /// The command it carries out (the first word); empty while it waits.
    pub op: &'static str,
    /// Seconds since it began; upstream shows the Unix time for threads without a connection.
    pub uptime: u64,
    /// What it does.
    pub state: ThreadState,
    /// Maps that wait to be pushed.
    pub queue: u64,
    /// How long the oldest of them has waited, in seconds.
    pub behind: u64,
}

impl Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, peer, op, uptime, state, queue, behind } = self;
        let kind = kind.number();
        let peer = peer.as_deref().unwrap_or(":0");
        write!(f, "STAT {id}:type {kind}\r\nSTAT {id}:peer {peer}\r\nSTAT {id}:op {op}\r\n")?;
        write!(f, "STAT {id}:uptime {uptime}\r\nSTAT {id}:state {state}\r\n")?;
        write!(f, "STAT {id}:info \r\nSTAT {id}:queue {queue}\r\nSTAT {id}:behind {behind}\r\n")
    }
}

/// The body of `stats threads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatsThreads;

impl StatsThreads {
    /// All lines and `END`, threads in the given order (upstream goes by type).
    pub fn encode<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> Vec<u8> {
        let threads = threads.into_iter();
        let mut lines = String::with_capacity(THREAD_BYTES * (threads.size_hint().0 + 1));
        for thread in threads {
            put(&mut lines, format_args!("{thread}"));
        }
        lines.push_str("END\r\n");
        lines.into_bytes()
    }

    /// The answer to `stats threads queue`: how much waits in all queues together.
    pub fn encode_queue(total: u64) -> Vec<u8> {
        text(format_args!("STAT total_thread_queue {total}\r\nEND\r\n"))
    }
}
