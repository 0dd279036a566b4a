//! The processes: the index and the nodes, from their start to their end.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use flare_actors::admin::sandbox::{Answer, Order, Process as Doing, SandboxNode};
use flare_core::model::NodeKey;
use flare_e2e::suite::client::Client;
use flare_e2e::suite::map::NodeMap;
use flare_e2e::suite::node::{Node, NodeProgram};
use flare_e2e::suite::process::{Process, Program};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::control::{self, Asked};
use crate::settings::{NODES_MAX, NodePorts, Settings};
use crate::stop::Stop;
use crate::{say, words};

/// How often the map is looked at: a failover of half a second is to be seen as it happens.
const LOOK: Duration = Duration::from_millis(100);

/// How long the index may take to listen, and a cluster to get its shape.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long the index may leave looks unanswered: a laptop may be busy with something else, and
/// who wants to see what happens may have stopped it.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long the index may take to end by itself; nothing of the sandbox is worth waiting for.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Runs a sandbox until it is told to end.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let mut stop = Stop::new()?;
    settings.check()?;
    let folder = tempfile::Builder::new()
        .prefix("flare-sandbox-")
        .tempdir()
        .context("cannot make a scratch folder")?;
    let mut cluster = Cluster::new(&settings, folder.path())?;
    let ended = tokio::select! {
        ended = cluster.live(&settings) => ended,
        () = stop.requested() => {
            say("\nEnding everything.");
            Ok(())
        }
    };
    // Whatever the reason: first the processes, then what they wrote.
    let cleared = cluster.end().await;
    let removed = folder.close().context("cannot remove the scratch folder");
    ended.and(cleared).and(removed)
}

struct Cluster {
    folder: PathBuf,
    me: PathBuf,
    program: NodeProgram,
    ports: NodePorts,
    index: Option<Index>,
    nodes: Vec<Member>,
    started: Instant,
}

struct Index {
    process: Process,
    address: SocketAddr,
    page: SocketAddr,
}

struct Member {
    node: Node,
    frozen: bool,
}

impl Member {
    fn doing(&mut self) -> Doing {
        match self.node.ended() {
            Ok(false) if self.frozen => Doing::Frozen,
            Ok(false) => Doing::Running,
            _ => Doing::Dead,
        }
    }
}

impl Cluster {
    fn new(settings: &Settings, folder: &Path) -> Result<Self> {
        let me = std::env::current_exe().context("cannot tell where this program is")?;
        let program = match &settings.real_flared {
            Some(path) => NodeProgram::Flared(path.canonicalize()?),
            None => NodeProgram::StandIn(me.clone()),
        };
        Ok(Self {
            folder: folder.to_owned(),
            me,
            program,
            ports: NodePorts::new(settings.node_port),
            index: None,
            nodes: Vec::new(),
            started: Instant::now(),
        })
    }

    /// Starts everything, then shows what happens and does what the page orders; ends only when
    /// something breaks.
    async fn live(&mut self, settings: &Settings) -> Result<()> {
        let count = settings.node_count()?;
        say(&format!("Starting an index and {count} nodes."));
        let (control, orders) = control::listen().await?;
        self.start_index(settings, control).await?;
        let (index, page) = self.addresses()?;
        for _ in 0..count {
            self.add(false).await?;
        }
        let map = self.settle(settings).await?;
        let nodes: Vec<SocketAddr> = self.nodes.iter().map(|member| member.node.addr()).collect();
        say(&format!("\n{}", words::table(&map)));
        say(&words::welcome(index, page, &nodes));
        if !settings.no_open {
            open_in_browser(page);
        }
        self.serve(index, orders, map).await
    }

    async fn start_index(&mut self, settings: &Settings, control: SocketAddr) -> Result<()> {
        let manifest = self.folder.join("cluster.yaml");
        let Settings { partitions, replicas, index_port, page_port, .. } = settings;
        let text = format!(
            "apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\n\
             metadata:\n  name: sandbox\n\
             spec:\n  partitions: {partitions}\n  replicas: {replicas}\n"
        );
        fs::write(&manifest, text).context("cannot write the manifest")?;
        let at = |port: &u16| SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        let program = Program::new(&self.me)
            .arg("index")
            .flag("--data-dir", &self.folder.join("index").display())
            .flag("--cluster", &manifest.display())
            .flag("--listen", &at(index_port))
            .flag("--admin", &at(page_port))
            .flag("--metrics", "off")
            .flag("--sandbox-control", &control);
        let mut process = Process::start("index", &program, &self.folder)?;
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let text = fs::read_to_string(process.stdout_file())?;
            if let (Some(address), Some(page)) = (printed(&text, "index"), printed(&text, "admin"))
            {
                self.index = Some(Index { process, address, page });
                return Ok(());
            }
            if process.ended()?.is_some() || Instant::now() > deadline {
                bail!("the index did not start; it said:\n{}", last_words(process.stderr_file()));
            }
            sleep(LOOK).await;
        }
    }

    fn addresses(&self) -> Result<(SocketAddr, SocketAddr)> {
        let index = self.index.as_ref().context("the index does not run")?;
        Ok((index.address, index.page))
    }

    async fn add(&mut self, may_skip: bool) -> Result<()> {
        let (index, _) = self.addresses()?;
        let port = self.ports.take(may_skip)?;
        let label = format!("node-{port}");
        let mut node = Node::new(self.program.clone(), &label, index, port, &self.folder)?;
        let up = node.start().await;
        let log = self.folder.join(format!("{label}.log"));
        // Kept also when it did not come up: then it is ended like the others.
        self.nodes.push(Member { node, frozen: false });
        up.with_context(|| last_words(&log))
    }

    /// Waits until every partition has its copies.
    async fn settle(&mut self, settings: &Settings) -> Result<NodeMap> {
        let (address, _) = self.addresses()?;
        let (partitions, copies) = (i32::from(settings.partitions), usize::from(settings.replicas));
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            self.require_index()?;
            let shaped = look(address).await.and_then(|map| {
                map.require_shape(partitions, copies)?;
                Ok(map)
            });
            match shaped {
                Ok(map) => return Ok(map),
                Err(lack) if Instant::now() > deadline => {
                    return Err(lack.context("the cluster does not get its shape"));
                }
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    async fn serve(
        &mut self,
        index: SocketAddr,
        mut orders: mpsc::Receiver<Asked>,
        mut map: NodeMap,
    ) -> Result<()> {
        let mut looks = tokio::time::interval(LOOK);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                Some((order, answer)) = orders.recv() => {
                    let done = self.obey(&order).await;
                    // Whoever asked may have gone away; the order is carried out all the same.
                    let _ = answer.send(done);
                }
                _ = looks.tick() => {
                    self.require_index()?;
                    let now = match look(index).await {
                        Err(silence) if heard.elapsed() > SILENCE_MAX => return Err(silence),
                        Err(_) => continue,
                        Ok(now) => now,
                    };
                    heard = Instant::now();
                    let since = self.started.elapsed().as_secs_f32();
                    for line in words::changes(&map, &now) {
                        say(&format!("{since:7.1} s  {line}"));
                    }
                    map = now;
                }
            }
        }
    }

    fn require_index(&mut self) -> Result<()> {
        let index = self.index.as_mut().context("the index does not run")?;
        if let Some(status) = index.process.ended()? {
            let said = last_words(index.process.stderr_file());
            bail!("the index ended by itself ({status}); it said:\n{said}");
        }
        Ok(())
    }

    async fn obey(&mut self, order: &Order) -> Answer {
        let done = match order {
            Order::Nodes => Ok(()),
            Order::Add if self.nodes.len() >= usize::from(NODES_MAX) => {
                Err(anyhow!("there are {NODES_MAX} nodes already, the most that a sandbox has"))
            }
            Order::Add => self.add(true).await,
            Order::Kill(key) => self.kill(key).await,
            Order::Freeze(key) => self.freeze(key),
            Order::Revive(key) => self.revive(key).await,
        };
        match done {
            Err(error) => Answer::Failed { error: format!("{error:#}") },
            Ok(()) => {
                if *order != Order::Nodes {
                    let since = self.started.elapsed().as_secs_f32();
                    say(&format!("{since:7.1} s  order: {order}"));
                }
                Answer::Nodes { nodes: self.nodes.iter_mut().map(sandbox_node).collect() }
            }
        }
    }

    fn member(&mut self, key: &NodeKey) -> Result<&mut Member> {
        let found = self.nodes.iter_mut().find(|member| member.node.key() == key.as_str());
        found.with_context(|| format!("{key} is not a node of this sandbox"))
    }

    async fn kill(&mut self, key: &NodeKey) -> Result<()> {
        let member = self.member(key)?;
        ensure!(member.doing() != Doing::Dead, "{key} is dead already");
        member.frozen = false;
        member.node.kill().await
    }

    fn freeze(&mut self, key: &NodeKey) -> Result<()> {
        let member = self.member(key)?;
        ensure!(member.doing() == Doing::Running, "{key} does not run");
        member.node.freeze()?;
        member.frozen = true;
        Ok(())
    }

    async fn revive(&mut self, key: &NodeKey) -> Result<()> {
        let member = self.member(key)?;
        match member.doing() {
            Doing::Running => bail!("{key} runs already"),
            Doing::Frozen => {
                member.frozen = false;
                member.node.thaw()
            }
            Doing::Dead => member.node.start().await,
        }
    }

    /// Ends every process and waits until each is gone. Nodes are killed: they have nothing to
    /// save, and a frozen one could not be asked.
    async fn end(mut self) -> Result<()> {
        let mut ends = Vec::new();
        for member in &mut self.nodes {
            if member.doing() != Doing::Dead {
                ends.push(member.node.kill().await);
            }
        }
        if let Some(mut index) = self.index.take()
            && index.process.ended()?.is_none()
        {
            // Dropping it, as after the deadline, kills it.
            let _ = index.process.terminate(END_PATIENCE).await;
        }
        ends.into_iter().collect()
    }
}

fn sandbox_node(member: &mut Member) -> SandboxNode {
    let address = member.node.addr();
    let key = NodeKey::new(&address.ip().to_string(), address.port().into());
    SandboxNode { key, process: member.doing() }
}

async fn look(index: SocketAddr) -> Result<NodeMap> {
    let mut client = Client::connect(index).await?;
    NodeMap::from_stats(&client.stats("stats nodes").await?)
}

/// The address in the line `<name> listening on <address>`.
fn printed(text: &str, name: &str) -> Option<SocketAddr> {
    let start = format!("{name} listening on ");
    text.lines().find_map(|line| line.strip_prefix(&start))?.trim().parse().ok()
}

/// The end of a log, for a person who wonders why.
fn last_words(log: &Path) -> String {
    const LINES: usize = 8;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Opens the page where there is a desktop; that it was printed is enough elsewhere.
fn open_in_browser(page: SocketAddr) {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if desktop && words::has_program("xdg-open") {
        let url = format!("http://{page}/");
        let quiet = std::process::Stdio::null;
        let _ = std::process::Command::new("xdg-open")
            .arg(url)
            .stdin(quiet())
            .stdout(quiet())
            .stderr(quiet())
            .spawn();
    }
}
