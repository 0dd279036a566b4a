//! The orders that a running cluster takes, on a socket in its folder: one line of JSON there,
//! one line back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::paths::Paths;

/// An order is carried out within milliseconds; a machine under load may take longer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// A part of a node that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NodePart {
    /// Talks to the apiserver and starts containers. Those that run go on without it.
    Kubelet,
    /// Runs the containers. Those that run go on without it.
    Containerd,
    /// Writes the rules of Services. Those written stay.
    KubeProxy,
}

impl NodePart {
    /// The name of the part's program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            NodePart::Kubelet => "kubelet",
            NodePart::Containerd => "containerd",
            NodePart::KubeProxy => "kube-proxy",
        }
    }
}

/// What is to become of the apiserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Api {
    /// Killed: connections end, new ones are refused.
    Down,
    /// Running again, after either of the others.
    Up,
    /// Stopped in the middle of what it does: connections stay and nothing answers.
    Freeze,
}

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Say which parts run.
    Status,
    /// Pull a node's cable.
    Cut { node: String },
    /// Plug it in again, and start what was killed there.
    Heal { node: String },
    /// Kill a part of a node; it stays dead until the node is healed.
    Kill { node: String, part: NodePart },
    /// Do something to the apiserver.
    Api { state: Api },
}

/// What became of an order, for a person.
pub(crate) type Answer = Result<String, String>;

/// Gives an order to a running cluster and waits for the answer.
pub(crate) fn give(paths: &Paths, order: &Order) -> Result<String> {
    let socket = UnixStream::connect(paths.control()).with_context(|| {
        format!("no cluster {0:?} runs; start it with: cluster up --name {0}", paths.name())
    })?;
    let answer = exchange(&socket, order).context("give an order to the cluster")?;
    answer.map_err(|error| anyhow!(error))
}

fn exchange(mut socket: &UnixStream, order: &Order) -> Result<Answer> {
    socket.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let mut line = serde_json::to_string(order)?;
    line.push('\n');
    socket.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Takes one waiting order, if there is one, and answers it. A peer that says nothing, or
/// nonsense, costs only itself.
pub(crate) fn take(listener: &UnixListener, carry_out: impl FnOnce(Order) -> Answer) {
    let Ok((socket, _)) = listener.accept() else { return };
    let answered = (|| -> Result<()> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        let mut line = String::new();
        BufReader::new(&socket).read_line(&mut line)?;
        let mut answer = serde_json::to_string(&match serde_json::from_str(&line) {
            Ok(order) => carry_out(order),
            Err(error) => Err(format!("not an order: {error}")),
        })?;
        answer.push('\n');
        (&socket).write_all(answer.as_bytes())?;
        Ok(())
    })();
    if let Err(error) = answered {
        eprintln!("an order got no answer: {error:#}");
    }
}
