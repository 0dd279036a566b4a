//! A node that is only a listening socket: it answers `ping` and `node sync` as flared does, and
//! reports all it hears. It can be frozen, as by SIGSTOP, and killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::script::NodePort;

/// The longest `node sync` that is read; the largest recorded one has six nodes.
const PUSH_MAX: usize = 64 * 1024;

/// What a node heard or said, in the order in which it happened across all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) node: NodePort,
    pub(super) what: What,
}

/// One thing that a node heard or said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// `ping`.
    Ping,
    /// A whole `node sync`.
    Push(Vec<u8>),
    /// It answered a push of this version.
    Answered(u64),
    /// Anything else.
    Other(String),
}

/// What a node does with what it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Connections come in and nothing is answered: stopped, or not yet started up.
    Mute,
    /// It answers.
    Serving,
    /// No new connections; those that are there are served.
    Leaving,
}

/// A running fake node; dropping it closes all its sockets, as SIGKILL does.
#[derive(Debug)]
pub(super) struct FakeNode {
    mode: watch::Sender<Mode>,
    task: AbortHandle,
}

impl FakeNode {
    /// Listens without answering, as flared does until the index has taken it.
    pub(super) async fn start(
        node: NodePort,
        addr: SocketAddr,
        heard: mpsc::UnboundedSender<Heard>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("a fake node cannot listen on {addr}"))?;
        let (mode, watched) = watch::channel(Mode::Mute);
        let task = tokio::spawn(accept(listener, Ear { node, heard, mode: watched }));
        Ok(Self { mode, task: task.abort_handle() })
    }

    /// Answers from now on.
    pub(super) fn serve(&self) {
        self.mode.send_replace(Mode::Serving);
    }

    /// Answers no more; connections stay.
    pub(super) fn freeze(&self) {
        self.mode.send_replace(Mode::Mute);
    }

    /// Stops listening; connections stay.
    pub(super) fn leave(&self) {
        self.mode.send_replace(Mode::Leaving);
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
struct Ear {
    node: NodePort,
    heard: mpsc::UnboundedSender<Heard>,
    mode: watch::Receiver<Mode>,
}

impl Ear {
    fn hears(&self, what: What) {
        // the stage may have left already: then nobody is interested
        self.heard.send(Heard { node: self.node, what }).ok();
    }
}

async fn accept(listener: TcpListener, ear: Ear) {
    let version = Arc::new(AtomicU64::new(0));
    // in the set, so that aborting this task ends the connections too
    let mut connections = JoinSet::new();
    let mut mode = ear.mode.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, ear.clone(), Arc::clone(&version)));
                }
            }
            // an error means that the node is being dropped, which is leaving too
            _ = mode.wait_for(|mode| *mode == Mode::Leaving) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection; ends with it.
async fn serve(stream: TcpStream, mut ear: Ear, version: Arc<AtomicU64>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let mut answered = None;
        let answer: &[u8] = if line == b"ping\r\n" {
            ear.hears(What::Ping);
            b"OK\r\n"
        } else if line.starts_with(b"node sync") {
            let pushed = pushed_version(&line);
            let mut push = line;
            while !push.ends_with(b"\r\nEND\r\n") && push.len() < PUSH_MAX {
                if lines.read_until(b'\n', &mut push).await? == 0 {
                    return Ok(());
                }
            }
            ear.hears(What::Push(push));
            answered = Some(pushed);
            if pushed >= version.load(Ordering::Relaxed) {
                version.store(pushed, Ordering::Relaxed);
                b"OK\r\n"
            } else {
                b"SERVER_ERROR node sync error\r\n"
            }
        } else {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let answer = other_answer(&text, version.load(Ordering::Relaxed));
            ear.hears(What::Other(text));
            speak(&mut ear).await;
            write.write_all(answer.as_bytes()).await?;
            continue;
        };
        speak(&mut ear).await;
        if let Some(version) = answered {
            ear.hears(What::Answered(version));
        }
        write.write_all(answer).await?;
    }
}

/// Waits until the node answers.
async fn speak(ear: &mut Ear) {
    // an error means that the node is being dropped, and this task with it
    ear.mode.wait_for(|mode| *mode != Mode::Mute).await.ok();
}

/// The version of `node sync`; none counts as 0.
fn pushed_version(line: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(line);
    text.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// What a node answers to questions that flarei never asks: enough for an index that does.
fn other_answer(command: &str, version: u64) -> String {
    match command {
        "stats" => format!(
            "STAT pid 1\r\nSTAT uptime 100\r\nSTAT time 1795371742\r\nSTAT version 1.3.4\r\n\
             STAT curr_items 0\r\nSTAT node_map_version {version}\r\nEND\r\n"
        ),
        "version" => "VERSION flare-1.3.4\r\n".to_owned(),
        command if command.starts_with("stats") => "END\r\n".to_owned(),
        "flush_all" => "OK\r\n".to_owned(),
        _ => "ERROR\r\n".to_owned(),
    }
}
