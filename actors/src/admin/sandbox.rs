//! The page's way to the sandbox: kill, freeze, revive and add nodes.
//!
//! Only the sandbox has these; an index that was not started by one answers 404 and the page
//! shows no buttons. The contract:
//!
//! * The sandbox listens on a TCP port of the loopback interface and starts the index with
//!   `--sandbox-control ADDR` (hidden; `admin::Options::sandbox`).
//! * For each request the admin server opens a connection and writes one line, ended by LF:
//!   `nodes`, `kill host:port`, `freeze host:port`, `revive host:port` or `add`.
//! * The sandbox answers with one line of JSON, ended by LF, and closes. Good:
//!   `{"nodes":[{"key":"127.0.0.1:12121","process":"running"}, …]}` with `process` one of
//!   `running`, `frozen`, `dead`; always all nodes, as they are after the order. Not good:
//!   `{"error":"a sentence"}`.
//! * Within [`ANSWER_DEADLINE`], in at most [`ANSWER_BYTES_MAX`] bytes.
//!
//! Over HTTP these are `GET /api/v1/sandbox`, `POST /api/v1/sandbox/{kill|freeze|revive}` with
//! the body `{"node":"host:port"}`, and `POST /api/v1/sandbox/add`. The answer's body is the
//! sandbox's line as it is.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use flare_core::model::NodeKey;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the sandbox may take: starting a node includes its registration, on a laptop that may
/// be busy with something else.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// The longest answer; 1,000 nodes take some 60 kB.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What can be asked of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Tell about the nodes; changes nothing.
    Nodes,
    /// End the process of a node at once, as a crash does.
    Kill(NodeKey),
    /// Stop the process of a node, as a hang does (SIGSTOP).
    Freeze(NodeKey),
    /// Let a frozen one go on, or start a dead one again.
    Revive(NodeKey),
    /// Start one more node.
    Add,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => f.write_str("nodes"),
            Self::Kill(node) => write!(f, "kill {node}"),
            Self::Freeze(node) => write!(f, "freeze {node}"),
            Self::Revive(node) => write!(f, "revive {node}"),
            Self::Add => f.write_str("add"),
        }
    }
}

/// The sandbox's answer to any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Done; these are the nodes now.
    Nodes {
        /// All of them.
        nodes: Vec<SandboxNode>,
    },
    /// Not done.
    Failed {
        /// Why, for a person.
        error: String,
    },
}

/// One node of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxNode {
    /// Its key.
    pub key: NodeKey,
    /// What its process is doing.
    pub process: Process,
}

/// What a node's process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// It runs.
    Running,
    /// It was stopped, and can go on.
    Frozen,
    /// It has ended.
    Dead,
}

/// Carries an order to the sandbox at `control`.
///
/// # Errors
/// When the sandbox cannot be reached, is too slow, or says something else than the contract.
pub async fn ask(control: SocketAddr, order: &Order) -> io::Result<Answer> {
    timeout(ANSWER_DEADLINE, exchange(control, order)).await.unwrap_or_else(|_| {
        let seconds = ANSWER_DEADLINE.as_secs();
        Err(io::Error::other(format!("the sandbox did not answer within {seconds} s")))
    })
}

async fn exchange(control: SocketAddr, order: &Order) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(control).await?;
    stream.write_all(format!("{order}\n").as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut line).await?;
    if !line.ends_with('\n') {
        return Err(io::Error::other("the sandbox closed the connection before its answer ended"));
    }
    serde_json::from_str(&line)
        .map_err(|error| io::Error::other(format!("the sandbox's answer is not JSON: {error}")))
}
