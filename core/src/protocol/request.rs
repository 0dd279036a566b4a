//! One line becomes one request, or a rejection that says what to answer (flare-protocol.md 3).
//!
//! A rejected line never closes the connection: the next line is read as if nothing had been.

use std::fmt;

use crate::model::NodeKey;
use crate::protocol::command::{
    Kill, Meta, NodeAdd, NodeLeave, NodeRemove, NodeRole, NodeState, Ping, Quit, ShowVariables,
    Shutdown, Stats, Verbosity, Version,
};
use crate::protocol::line::Frame;
use crate::protocol::words::{Malformed, WORD_MAX, Words};

/// What the index is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// `ping`
    Ping(Ping),
    /// `version`
    Version(Version),
    /// `quit`
    Quit(Quit),
    /// `meta`
    Meta(Meta),
    /// `node add`
    NodeAdd(NodeAdd),
    /// `node role`
    NodeRole(NodeRole),
    /// `node state`
    NodeState(NodeState),
    /// `node remove`
    NodeRemove(NodeRemove),
    /// `node leave`
    NodeLeave(NodeLeave),
    /// `shutdown`
    Shutdown(Shutdown),
    /// `stats`
    Stats(Stats),
    /// `show variables`
    ShowVariables(ShowVariables),
    /// `kill`
    Kill(Kill),
    /// `verbosity`
    Verbosity(Verbosity),
}

impl Request {
    /// Reads one line, given without its LF and without one CR before it.
    ///
    /// # Errors
    ///
    /// When upstream would not take the line; with what upstream answers.
    pub fn parse(line: &[u8]) -> Result<Self, Rejected> {
        let mut words = Words::new(line);
        words.skip_prefix()?;
        match words.word(WORD_MAX) {
            b"ping" => Ping::parse(words).map(Self::Ping),
            b"version" => Version::parse(words).map(Self::Version),
            b"quit" => Quit::parse(words).map(Self::Quit),
            b"meta" => Meta::parse(words).map(Self::Meta),
            b"node" => Self::parse_node(words),
            b"shutdown" => Shutdown::parse(words).map(Self::Shutdown),
            b"stats" => Stats::parse(words).map(Self::Stats),
            b"show" => ShowVariables::parse(words).map(Self::ShowVariables),
            b"kill" => Kill::parse(words).map(Self::Kill),
            b"verbosity" => Verbosity::parse(words).map(Self::Verbosity),
            _ => Err(Malformed::Command.into()),
        }
    }

    fn parse_node(mut words: Words<'_>) -> Result<Self, Rejected> {
        match words.word(WORD_MAX) {
            b"add" => NodeAdd::parse(words).map(Self::NodeAdd),
            b"role" => NodeRole::parse(words).map(Self::NodeRole),
            b"state" => NodeState::parse(words).map(Self::NodeState),
            b"remove" => NodeRemove::parse(words).map(Self::NodeRemove),
            b"leave" => NodeLeave::parse(words).map(Self::NodeLeave),
            _ => Err(Malformed::Command.into()),
        }
    }

    /// The command's name: for `stats threads` (`op`), logs and metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Version(_) => "version",
            Self::Quit(_) => "quit",
            Self::Meta(_) => "meta",
            Self::NodeAdd(_) => "node_add",
            Self::NodeRole(_) => "node_role",
            Self::NodeState(_) => "node_state",
            Self::NodeRemove(_) => "node_remove",
            Self::NodeLeave(_) => "node_leave",
            Self::Shutdown(_) => "shutdown",
            Self::Stats(_) => "stats",
            Self::ShowVariables(_) => "show",
            Self::Kill(_) => "kill",
            Self::Verbosity(_) => "verbosity",
        }
    }
}

/// The line that asks for it, without its end: for logs, and for tests that read it again.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |node: &NodeKey| format!("{} {}", node.name(), node.port());
        match self {
            Self::Ping(_) => f.write_str("ping"),
            Self::Version(_) => f.write_str("version"),
            Self::Quit(_) => f.write_str("quit"),
            Self::Meta(_) => f.write_str("meta"),
            Self::NodeAdd(add) => write!(f, "node add {}", node(&add.node)),
            Self::NodeRole(NodeRole { node: key, role, balance, partition }) => {
                write!(f, "node role {} {role} {balance} {partition}", node(key))
            }
            Self::NodeState(NodeState { node: key, state }) => {
                write!(f, "node state {} {state}", node(key))
            }
            Self::NodeRemove(remove) => write!(f, "node remove {}", node(&remove.node)),
            Self::NodeLeave(NodeLeave { node: key, cancel }) => {
                write!(f, "node leave {}{}", node(key), if *cancel { " cancel" } else { "" })
            }
            Self::Shutdown(shutdown) => write!(f, "shutdown {}", node(&shutdown.node)),
            Self::Stats(stats) => f.write_str(stats.words()),
            Self::ShowVariables(_) => f.write_str("show variables"),
            Self::Kill(kill) => write!(f, "kill {}", kill.thread_id),
            Self::Verbosity(Verbosity { noreply: false }) => f.write_str("verbosity 1"),
            Self::Verbosity(Verbosity { noreply: true }) => f.write_str("verbosity 1 noreply"),
        }
    }
}

impl Frame<'_> {
    /// Reads what a connection delivered as a request.
    ///
    /// # Errors
    ///
    /// As [`Request::parse`]; a line that is too long is answered as any other bad line.
    pub fn request(self) -> Result<Request, Rejected> {
        match self {
            Self::Line(line) => Request::parse(line),
            Self::TooLong => Err(Malformed::TooLong.into()),
        }
    }
}

/// A line that is not carried out; the connection stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejected {
    /// What is wrong with it.
    pub reason: Malformed,
    /// What is answered, as upstream answers it; may be nothing.
    pub reply: &'static [u8],
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Rejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}
