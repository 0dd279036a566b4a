//! What the listener and its sessions can be told and asked.

use std::net::{IpAddr, SocketAddr};

use actix::Message;
use flare_core::protocol::command::{StatsProcess, Thread, Variables};

use crate::obituary::End;
use crate::overview::SessionFacts;
use crate::session::Limits;
use crate::topology::Killed;

/// A session is gone, however it ended.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct SessionEnded {
    /// Its thread id.
    pub id: u32,
    /// The other end.
    pub peer: SocketAddr,
    /// How it ended.
    pub end: End,
    /// Bytes it read and wrote.
    pub traffic: Traffic,
}

/// Bytes that went over a connection since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Traffic {
    /// From the peer.
    pub read: u64,
    /// To the peer.
    pub written: u64,
}

impl Traffic {
    /// Adds another connection's bytes.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
    }
}

/// Asks a session what it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "SessionStatus")]
pub struct GetStatus;

/// The answer to [`GetStatus`].
#[derive(Debug, Clone, PartialEq, Eq, actix::MessageResponse)]
pub struct SessionStatus {
    /// Who and since when.
    pub facts: SessionFacts,
    /// The command that it waits for.
    pub op: Option<&'static str>,
    /// Bytes it read and wrote.
    pub traffic: Traffic,
}

/// Tells a session to end: at once, or after the request that it has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum EndSession {
    /// What is answered is still written, if the peer takes it (`kill`).
    Killed,
    /// The request in hand is finished and answered (the index stops).
    Stopping,
}

/// Asks for the threads that `stats threads` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Vec<Thread>")]
pub struct GetThreads {
    /// Client connections only.
    pub requests_only: bool,
}

/// Asks for what `stats` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "StatsProcess")]
pub struct GetProcessStats;

/// Asks for what `show variables` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Variables")]
pub struct GetVariables;

/// Ends the thread with this id, session or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Killed")]
pub struct KillThread {
    /// The thread id, as `stats threads` shows it.
    pub thread: u32,
    /// Who asks.
    pub caller: IpAddr,
}

/// Settings that a running index takes over (SIGHUP).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChangeLimits {
    /// The new limits; sessions that are open keep theirs.
    pub limits: Limits,
    /// What `show variables` tells from now on.
    pub variables: Variables,
}

/// Closes the listening socket and every session after the request that it has in hand; answers
/// when the last one is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct StopAccepting;
