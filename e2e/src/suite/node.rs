//! One data node under test, the stand-in or a real `flared`: the same configuration, the same
//! signals, and the same questions over the wire.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;

use super::client::Client;
use super::damage::damage_flared;
use super::eventually::{PATIENCE, eventually};
use super::map::NodeMap;
use super::process::{Process, Program};

/// How long a node may take to end in an orderly way: a flared gives each of its threads up to
/// 60 s (flare-protocol.md 6.5), and now and then one takes them.
const END_WITHIN: Duration = Duration::from_secs(75);

/// Which program plays the nodes.
#[derive(Debug, Clone)]
pub enum NodeProgram {
    /// `flare-e2e node`: the path of flare-e2e.
    StandIn(PathBuf),
    /// Upstream's `flared`.
    Flared(PathBuf),
}

/// A node with a fixed name and port and a data folder that survives its process.
#[derive(Debug)]
pub struct Node {
    program: NodeProgram,
    label: String,
    index: SocketAddr,
    addr: SocketAddr,
    folder: PathBuf,
    data: PathBuf,
    process: Option<Process>,
    extra: Vec<String>,
    control: Option<SocketAddr>,
    set_aside: bool,
}

impl Node {
    /// Describes a node without starting it: `label` names its logs.
    pub fn new(
        program: NodeProgram,
        label: &str,
        index: SocketAddr,
        port: u16,
        folder: &Path,
    ) -> Result<Self> {
        let data = folder.join(format!("{label}-data"));
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (label, folder) = (label.to_owned(), folder.to_owned());
        Ok(Self {
            program,
            label,
            index,
            addr,
            folder,
            data,
            process: None,
            extra: Vec::new(),
            control: None,
            set_aside: false,
        })
    }

    /// Adds a setting from the next start on: a key of flared's configuration and its value.
    pub fn setting(&mut self, key: &str, value: &(impl ToString + ?Sized)) {
        self.extra.push(format!("--{key}"));
        self.extra.push(value.to_string());
    }

    /// Gives the stand-in a control port, over which faults are ordered.
    pub fn with_control(&mut self, port: u16) {
        self.control = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }

    /// Makes it register at another index, from the next start on.
    pub fn set_index(&mut self, index: SocketAddr) {
        self.index = index;
    }

    /// Whether it is left out of what is asked of all running nodes: one that hangs, or cannot be
    /// reached, is still there, and has nothing to say.
    pub fn set_aside(&mut self, aside: bool) {
        self.set_aside = aside;
    }

    /// Whether it runs and is not set aside.
    pub fn takes_part(&self) -> bool {
        self.runs() && !self.set_aside
    }

    /// Moves it, with its data, to another address: another name for the index. It must not run.
    pub fn move_to(&mut self, addr: SocketAddr) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs", self.label);
        self.addr = addr;
        Ok(())
    }

    /// Another node with the same name and port, listening on another address of this machine.
    /// Only the stand-in can do that: flared binds all addresses.
    pub fn twin(&self, label: &str, listen: &str) -> Result<Self> {
        let (program, port) = (self.program.clone(), self.addr.port());
        let mut twin = Self::new(program, label, self.index, port, &self.folder)?;
        twin.setting("listen", listen);
        Ok(twin)
    }

    /// Its node key.
    pub fn key(&self) -> String {
        self.addr.to_string()
    }

    /// Name and port as the arguments of `node …` commands.
    pub fn args(&self) -> String {
        format!("{} {}", self.addr.ip(), self.addr.port())
    }

    /// Where clients reach it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether it has a process (which may be stopped).
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process has ended, by an order or by itself; then it may be started again.
    pub fn ended(&mut self) -> Result<bool> {
        if let Some(process) = &mut self.process
            && process.ended()?.is_some()
        {
            self.process = None;
        }
        Ok(self.process.is_none())
    }

    /// Whether it is a real flared.
    pub fn is_real(&self) -> bool {
        matches!(self.program, NodeProgram::Flared(_))
    }

    fn program(&self) -> Program {
        let program = match &self.program {
            NodeProgram::StandIn(path) => {
                let program = Program::new(path).arg("node").arg("--stderr");
                match self.control {
                    Some(control) => program.flag("--control", &control),
                    None => program,
                }
            }
            NodeProgram::Flared(path) => Program::new(path)
                .arg("--stderr")
                .flag("--pid", &self.folder.join(format!("{}.pid", self.label)).display()),
        };
        let program = program
            .flag("--data-dir", &self.data.display())
            .flag("--index-servers", &self.index)
            .flag("--server-name", &self.addr.ip())
            .flag("--server-port", &self.addr.port());
        self.extra.iter().fold(program, Program::arg).in_group(self.addr.port())
    }

    /// Starts its process without waiting for anything.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} already runs", self.label);
        self.process = Some(Process::start(&self.label, &self.program(), &self.folder)?);
        Ok(())
    }

    /// Starts it and waits until it answers, which it does once the index has taken it.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.answers().await
    }

    /// Waits until it answers `ping`; an error at once if its process ends instead.
    pub async fn answers(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let look = async { Client::connect(self.addr).await?.command("ping").await };
            let reason = match look.await {
                Ok(answer) if answer == "OK" => return Ok(()),
                Ok(answer) => anyhow!("it answers ping with {answer}"),
                Err(reason) => reason,
            };
            if let Some(status) = self.process_mut()?.ended()? {
                self.process = None;
                return Err(anyhow!("{} ended with {status}", self.label));
            }
            if tokio::time::Instant::now() > end {
                return Err(reason.context(format!("{} does not come up", self.label)));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn process_mut(&mut self) -> Result<&mut Process> {
        self.process.as_mut().ok_or_else(|| anyhow!("{} does not run", self.label))
    }

    fn take_process(&mut self) -> Result<Process> {
        self.process.take().ok_or_else(|| anyhow!("{} does not run", self.label))
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.take_process()?.kill().await
    }

    /// SIGTERM, and waits for its end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.take_process()?.terminate(END_WITHIN).await
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.take_process()?.wait(PATIENCE).await
    }

    /// SIGSTOP: its connections stay open and nothing is answered.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref();
        process.ok_or_else(|| anyhow!("{} does not run", self.label))?.signal(signal)
    }

    /// SIGKILL and a new process right after, before anyone can have noticed.
    pub async fn restart_at_once(&mut self) -> Result<()> {
        self.kill().await?;
        self.start().await
    }

    /// Throws its data away, as if its disk had been replaced. It must not run.
    pub fn lose_data(&self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs", self.label);
        fs::remove_dir_all(&self.data)?;
        fs::create_dir_all(&self.data).with_context(|| format!("cannot make {}", self.label))
    }

    /// A connection to it.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(self.addr).await
    }

    /// Its `stats`.
    pub async fn stats(&self) -> Result<BTreeMap<String, String>> {
        self.client().await?.stats("stats").await
    }

    /// The node map that it works by, and its version.
    pub async fn map(&self) -> Result<(u64, NodeMap)> {
        let mut client = self.client().await?;
        let map = NodeMap::from_stats(&client.stats("stats nodes").await?)?;
        let stats = client.stats("stats").await?;
        let version = stats.get("node_map_version").ok_or_else(|| anyhow!("no version"))?;
        Ok((version.parse()?, map))
    }

    /// How many keys it stores, expired ones included.
    pub async fn items(&self) -> Result<u64> {
        let stats = self.stats().await?;
        let items = stats.get("curr_items").ok_or_else(|| anyhow!("no curr_items"))?;
        items.parse().with_context(|| format!("curr_items {items}"))
    }

    /// The number of keys that users wrote and that have not expired.
    pub async fn users_keys(&self) -> Result<usize> {
        Ok(self.client().await?.dump(-1, 0).await?.len())
    }

    /// The types of its threads, from `stats threads`: 3 means that it is copying.
    pub async fn thread_types(&self) -> Result<Vec<u32>> {
        let pairs = self.client().await?.stats("stats threads").await?;
        let types = pairs.iter().filter(|(name, _)| name.ends_with(":type"));
        types.map(|(_, value)| Ok(value.parse()?)).collect()
    }

    /// How many requests it has queued or under way towards the node of that thread type.
    pub async fn owes(&self, thread_type: u32) -> Result<usize> {
        let pairs = self.client().await?.stats("stats threads").await?;
        let thread_type = thread_type.to_string();
        let towards = pairs.iter().filter_map(|(name, value)| {
            name.strip_suffix(":type").filter(|_| *value == thread_type)
        });
        let mut owed = 0;
        for thread in towards {
            let field = |name: &str| pairs.get(&format!("{thread}:{name}")).map(String::as_str);
            owed += field("queue").unwrap_or("0").parse::<usize>()?;
            owed += usize::from(field("state") == Some("execute"));
        }
        Ok(owed)
    }

    /// How many connections it has to the node of that thread type.
    pub async fn connections_to(&self, thread_type: u32) -> Result<usize> {
        let pairs = self.client().await?.stats("stats threads").await?;
        let thread_type = thread_type.to_string();
        let of_type = |name: &str, value: &str| name.ends_with(":type") && value == thread_type;
        Ok(pairs.iter().filter(|(name, value)| of_type(name, value)).count())
    }

    /// Whether faults can be ordered of it.
    pub fn takes_orders(&self) -> bool {
        self.control.is_some()
    }

    /// Sends one line to the stand-in's control port; its answer.
    pub async fn order(&self, line: &str) -> Result<String> {
        let control = self.control.ok_or_else(|| anyhow!("{} has no control port", self.label))?;
        let answer = Client::connect(control).await?.command(line).await?;
        ensure!(!answer.starts_with("ERROR"), "{} answered `{line}`: {answer}", self.label);
        Ok(answer)
    }

    /// The record of that key cannot be read any more, from now on and until the node is emptied:
    /// what a kill under load does to a few. A write that meets it fails, and then every `ping`.
    pub async fn damage(&self, key: &str) -> Result<()> {
        if self.is_real() {
            return damage_flared(&self.data, key);
        }
        self.order(&format!("storage damage {key}")).await.map(drop)
    }

    /// Waits until its process is in the kernel's stopped state.
    pub async fn frozen(&self) -> Result<()> {
        let id = self.process.as_ref().ok_or_else(|| anyhow!("it does not run"))?.id();
        eventually(PATIENCE, "the process to stop", || async {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T'));
            ensure!(state == Some(true), "state: {stat}");
            Ok(())
        })
        .await
    }
}
