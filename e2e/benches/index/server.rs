//! A server under measurement: a process of its own, and what /proc says about it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::wire::Client;

/// Which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// The bare loop in this very program.
    Floor(PathBuf),
    /// flare-operator.
    Ours(PathBuf),
    /// Upstream's.
    Flarei(PathBuf),
}

impl Program {
    /// For the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Floor(_) => "floor",
            Self::Ours(_) => "flare-operator",
            Self::Flarei(_) => "flarei",
        }
    }

    /// Starts it for `nodes` nodes and `idle` further connections; waits until it answers.
    pub(crate) async fn start(
        &self,
        nodes: usize,
        idle: usize,
        data: Option<&Path>,
    ) -> Result<Server> {
        let folder = match data {
            Some(data) => tempfile::tempdir_in(data),
            None => tempfile::tempdir(),
        };
        let folder = folder.context("cannot make a folder for the data")?;
        let (mut command, known) = self.command(nodes, idle, folder.path())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name()))?;
        let address = match known {
            Some(address) => address,
            None => timeout(Duration::from_secs(10), printed_address(&mut child))
                .await
                .with_context(|| format!("{} does not say where it listens", self.name()))??,
        };
        let pid = child.id().context("the server ended at once")?;
        let server = Server { child, pid, address, _folder: folder };
        Client::connect(address).await?.line("ping").await?;
        Ok(server)
    }

    fn command(
        &self,
        nodes: usize,
        idle: usize,
        folder: &Path,
    ) -> Result<(Command, Option<SocketAddr>)> {
        let connections = (nodes * 2 + idle + 64).to_string();
        match self {
            Self::Floor(path) => {
                let mut command = Command::new(path);
                command.arg("floor").arg(nodes.to_string());
                Ok((command, None))
            }
            Self::Ours(path) => {
                let mut command = Command::new(path);
                command.args(["index", "--assign", "manual", "--listen", "127.0.0.1:0"]);
                command.args(["--admin", "off", "--metrics", "off", "--data-dir"]).arg(folder);
                command.args(["--server-name", "127.0.0.1", "--max-connection", &connections]);
                Ok((command, None))
            }
            Self::Flarei(path) => {
                let address = free_address()?;
                let mut command = Command::new(path);
                command.arg("--stderr").arg("--pid").arg(folder.join("pid"));
                command.arg("--data-dir").arg(folder).args(["--server-name", "127.0.0.1"]);
                command.args(["--server-port", &address.port().to_string()]);
                command.args(["--monitor-interval", "1", "--monitor-threshold", "3"]);
                command.args(["--max-connection", &connections]);
                Ok((command, Some(address)))
            }
        }
    }
}

/// A port that is free now: flarei cannot pick one itself.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

async fn printed_address(child: &mut Child) -> Result<SocketAddr> {
    let stdout = child.stdout.take().context("standard output is not connected")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.strip_prefix("index listening on ") {
            return address.trim().parse().context("not an address");
        }
    }
    bail!("it ended without listening")
}

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pid: u32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Resident memory in MiB and number of threads.
    pub(crate) fn memory_and_threads(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))
            .context("cannot read what the kernel says of the server")?;
        let number = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.with_context(|| format!("no {name}"))?.parse().context("not a number")
        };
        Ok((number("VmRSS:")? / 1024.0, number("Threads:")?))
    }

    /// Ends it and waits until it is gone, so that the next one has the machine to itself.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.child.kill().await?;
        // Its sockets are torn down after it is gone; the kernel is given a moment for thousands.
        sleep(Duration::from_millis(200)).await;
        Ok(())
    }
}
