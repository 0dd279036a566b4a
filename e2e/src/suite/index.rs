//! The index under test: starts it, kills it, starts it again on the same data and address, and
//! asks it what it thinks. Ours and upstream's `flarei` are driven alike.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;

use super::client::Client;
use super::eventually::{PATIENCE, eventually};
pub use super::manifest::Manifest;
use super::map::NodeMap;
use super::process::{Process, Program};
use super::runner::skip;

/// Which program plays the index.
#[derive(Debug, Clone)]
pub enum IndexProgram {
    /// `flare-operator`.
    Ours(PathBuf),
    /// Upstream's `flarei`, against which the harness itself is tested.
    Flarei(PathBuf),
}

/// Who assigns roles.
#[derive(Debug, Clone)]
pub enum Assign {
    /// The index, towards a manifest.
    Auto(Manifest),
    /// Whoever sends commands, as with flarei: pings every second, down after three misses.
    Manual,
    /// As [`Assign::Manual`], with all settings from a file that an argument names.
    Conf,
}

/// An index on a fixed address with a data folder of its own.
#[derive(Debug)]
pub struct Index {
    program: IndexProgram,
    assign: Assign,
    addr: SocketAddr,
    folder: PathBuf,
    data: PathBuf,
    process: Option<Process>,
    extra: Vec<String>,
    hosts: Option<PathBuf>,
    disk_kib: Option<u32>,
}

impl Index {
    /// Describes an index without starting it. Logs go to `folder`.
    pub fn new(program: IndexProgram, assign: Assign, port: u16, folder: &Path) -> Result<Self> {
        Self::at(program, assign, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), folder)
    }

    /// As [`Index::new`], at another address than 127.0.0.1.
    pub fn at(
        program: IndexProgram,
        assign: Assign,
        addr: SocketAddr,
        folder: &Path,
    ) -> Result<Self> {
        let data = folder.join("index-data");
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let index = Self {
            program,
            assign,
            addr,
            folder: folder.to_owned(),
            data,
            process: None,
            extra: Vec::new(),
            hosts: None,
            disk_kib: None,
        };
        index.write_manifest()?;
        Ok(index)
    }

    /// Puts the data folder elsewhere, before the first start.
    #[must_use]
    pub fn with_data(mut self, data: &Path) -> Self {
        self.data = data.to_owned();
        self
    }

    /// Adds arguments as they are, from the next start on.
    #[must_use]
    pub fn with_args(mut self, args: &[&str]) -> Self {
        self.extra.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Lets it choose its port; [`Index::printed`] tells which.
    #[must_use]
    pub fn with_any_port(mut self) -> Self {
        self.addr.set_port(0);
        self
    }

    /// Puts its data on a disk of `kib` KiB; needs root. [`Index::disk`] reaches it.
    #[must_use]
    pub fn with_small_disk(mut self, kib: u32) -> Self {
        self.disk_kib = Some(kib);
        self
    }

    /// The data folder as the running index sees it.
    pub fn disk(&self) -> Result<PathBuf> {
        let process = self.process.as_ref().ok_or_else(|| anyhow!("the index does not run"))?;
        let data = self.data.strip_prefix("/").unwrap_or(&self.data);
        Ok(PathBuf::from(format!("/proc/{}/root", process.id())).join(data))
    }

    /// Shows it this file in place of /etc/hosts; needs root.
    #[must_use]
    pub fn with_hosts(mut self, file: PathBuf) -> Self {
        self.hosts = Some(file);
        self
    }

    /// The ports from which it is connected to the program on port `to`.
    pub fn connected_from(&self, to: u16) -> Result<BTreeSet<u16>> {
        let process = self.process.as_ref().ok_or_else(|| anyhow!("the index does not run"))?;
        super::network::connected_from(process.id(), to)
    }

    /// Where nodes and clients reach it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The file with its log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("index.log")
    }

    /// What was said in its log so far.
    pub fn log_text(&self) -> Result<String> {
        let log = self.log();
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))
    }

    /// Replaces the manifest, as an editor does: a new file is moved over the old one.
    pub fn set_manifest(&mut self, manifest: Manifest) -> Result<()> {
        self.assign = Assign::Auto(manifest);
        self.write_manifest()
    }

    fn write_manifest(&self) -> Result<()> {
        let Assign::Auto(manifest) = &self.assign else { return Ok(()) };
        let new = self.folder.join("cluster.yaml.new");
        fs::write(&new, manifest.yaml())?;
        fs::rename(&new, self.folder.join("cluster.yaml")).context("cannot place the manifest")
    }

    fn program(&self) -> Program {
        let mut program = match &self.program {
            IndexProgram::Ours(path) => {
                let mut program = Program::new(path)
                    .arg("index")
                    .flag("--data-dir", &self.data.display())
                    .flag("--listen", &self.addr)
                    .flag("--admin", "127.0.0.1:0")
                    .flag("--metrics", "off");
                program = match &self.assign {
                    Assign::Auto(_) => {
                        program.flag("--cluster", &self.folder.join("cluster.yaml").display())
                    }
                    Assign::Manual | Assign::Conf => program.flag("--assign", "manual"),
                };
                program
            }
            IndexProgram::Flarei(path) => Program::new(path)
                .arg("--stderr")
                .flag("--pid", &self.folder.join("index.pid").display())
                .flag("--data-dir", &self.data.display())
                .flag("--server-port", &self.addr.port()),
        };
        if matches!(self.assign, Assign::Manual) {
            program = program
                .flag("--server-name", "127.0.0.1")
                .flag("--monitor-interval", &1)
                .flag("--monitor-threshold", &3)
                .flag("--monitor-read-timeout", &1000)
                .flag("--max-connection", &256);
        }
        let program = self.extra.iter().fold(program, Program::arg);
        let program = match &self.hosts {
            Some(hosts) => program.with_hosts(hosts),
            None => program,
        };
        let program = match self.disk_kib {
            Some(kib) => program.with_disk(&self.data, kib),
            None => program,
        };
        program.in_group(self.addr.port())
    }

    /// Starts it, or starts it again, and waits until it accepts connections.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        eventually(PATIENCE, "the index to answer", || async {
            Client::connect(self.addr).await?.command("ping").await
        })
        .await
        .with_context(|| self.last_words())
        .map(drop)
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the index already runs");
        self.process = Some(Process::start("index", &self.program(), &self.folder)?);
        Ok(())
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.take().ok_or_else(|| anyhow!("the index does not run"))?.kill().await
    }

    /// SIGTERM, and waits for its end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let process = self.process.take().ok_or_else(|| anyhow!("the index does not run"))?;
        process.terminate(PATIENCE).await
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().ok_or_else(|| anyhow!("the index does not run"))?;
        process.wait(PATIENCE).await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().ok_or_else(|| anyhow!("the index does not run"))?.signal(signal)
    }

    /// A connection to it. It is never made to hang, and may hold an answer back for longer than a
    /// node that hangs is given: the end of a swap, a registration.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(self.addr).await?.answer_within(PATIENCE))
    }

    /// Sends one command on a connection of its own; the first line of the answer.
    pub async fn command(&self, line: &str) -> Result<String> {
        self.client().await?.command(line).await
    }

    /// Sends a command that must be answered `OK`.
    pub async fn accepts(&self, line: &str) -> Result<()> {
        let answer = self.command(line).await?;
        ensure!(answer == "OK", "the index answered `{line}` with {answer}");
        Ok(())
    }

    /// Its node map.
    pub async fn map(&self) -> Result<NodeMap> {
        NodeMap::from_stats(&self.client().await?.stats("stats nodes").await?)
    }

    /// Its node_map_version.
    pub async fn version(&self) -> Result<u64> {
        let stats = self.client().await?.stats("stats").await?;
        let version = stats.get("node_map_version").ok_or_else(|| anyhow!("no version"))?;
        version.parse().with_context(|| format!("node_map_version {version}"))
    }

    /// The address that it printed for `name` (`index`, `admin` or `metrics`) when it last
    /// started.
    pub async fn printed(&self, name: &str) -> Result<SocketAddr> {
        let process = self.process.as_ref().ok_or_else(|| anyhow!("the index does not run"))?;
        let start = format!("{name} listening on ");
        eventually(PATIENCE, &format!("the line `{start}…`"), || async {
            let text = fs::read_to_string(process.stdout_file())?;
            let line = text.lines().rev().find_map(|line| line.strip_prefix(&start));
            let line = line.ok_or_else(|| anyhow!("standard output is: {text}"))?;
            line.trim().parse().with_context(|| format!("not an address: {line}"))
        })
        .await
    }

    /// `GET path` on the admin interface: status and body.
    pub async fn admin(&self, path: &str) -> Result<(u16, String)> {
        let addr = self.printed("admin").await?;
        super::http::get(addr, path, PATIENCE).await
    }

    /// What stands in the way of the wanted shape, by kind, as its admin interface tells.
    pub async fn blocked(&self) -> Result<BTreeSet<String>> {
        let (status, body) = self.admin("/api/v1/topology").await?;
        ensure!(status == 200, "the topology answers {status}: {body}");
        let view: serde_json::Value = serde_json::from_str(&body)?;
        let kinds = view["blocked"].as_array().into_iter().flatten().map(|what| &what["kind"]);
        Ok(kinds.filter_map(|kind| kind.as_str().map(ToOwned::to_owned)).collect())
    }

    /// Whether it says that its circuit breaker is open.
    pub async fn breaker_is_open(&self) -> Result<bool> {
        Ok(self.blocked().await?.contains("breaker_open"))
    }

    /// Swaps a partition's master with a slave: `body` as the admin interface takes it. Returns
    /// when the index says how it ended: 200 if it is done.
    pub async fn switchover(&self, partition: i32, body: &str) -> Result<(u16, String)> {
        let addr = self.printed("admin").await?;
        let path = format!("/api/v1/partitions/{partition}/switchover");
        super::http::post(addr, &path, body, PATIENCE).await
    }

    /// Chooses the copy that a partition without a master goes on with; status and body.
    pub async fn recover(&self, partition: i32, from: &str) -> Result<(u16, String)> {
        let addr = self.printed("admin").await?;
        let path = format!("/api/v1/partitions/{partition}/recover");
        let body = format!("{{\"from\": \"{from}\"}}");
        super::http::post(addr, &path, &body, PATIENCE).await
    }

    /// Runs a command of the index' program that asks this index: the exit code, and what it said.
    pub async fn run_command(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let IndexProgram::Ours(path) = &self.program else { return skip("flarei has no commands") };
        let admin = self.printed("admin").await?.to_string();
        let mut command = tokio::process::Command::new(path);
        command.args(args).args(["--admin", &admin]).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output());
        let output = output.await.with_context(|| format!("{args:?} does not end"))??;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// `POST path` on the admin interface, as a person of this machine does: status and body.
    pub async fn order(&self, path: &str) -> Result<(u16, String)> {
        let addr = self.printed("admin").await?;
        super::http::post(addr, path, "{}", PATIENCE).await
    }

    fn last_words(&self) -> String {
        let text = self.log_text().unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().fold("the end of its log:".to_owned(), |all, l| all + "\n" + l)
    }
}
