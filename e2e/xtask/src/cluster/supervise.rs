//! The supervisor: the first process in a cluster's process namespace. It makes the network,
//! starts the parts in order, watches them, and takes orders. When it ends, the kernel ends
//! everything that it and its containers started; it ends when its keeper does.

mod kubernetes;
mod setup;
mod volumes;

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::Signal;

use super::children::Children;
use super::config::Values;
use super::control::{self, Answer, Api, NodePart, Order};
use super::events::{self, What};
use super::network;
use super::parts::Built;
use super::paths::Paths;
use super::plan::{Node, Plan};
use super::record::LOOK_AGAIN;

/// Longest time that one step of the start may take. A cluster of nine nodes on a machine that is
/// busy with compiling needs about a minute in all.
const STEP_DEADLINE: Duration = Duration::from_secs(120);

/// A killed process is gone within milliseconds.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The cluster's folder as everything inside the cluster sees it.
const INSIDE: &str = "/run/cluster";

/// A cluster from the inside.
struct Supervisor {
    paths: Paths,
    nodes: Vec<Node>,
    values: Values,
    /// From a part's program to its path inside the cluster.
    programs: HashMap<&'static str, String>,
    children: Children,
    /// Says something, or ends, when the keeper has ended.
    keeper: Receiver<()>,
    started: Instant,
}

/// Runs a cluster until the keeper ends.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let prepared = Supervisor::prepare(paths);
    let failed = |error: anyhow::Error, paths: &Paths| {
        events::add(paths, What::Failed { text: format!("{error:#}") })?;
        Err(error)
    };
    let mut supervisor = match prepared {
        Ok(supervisor) => supervisor,
        Err(error) => return failed(error, paths),
    };
    let listener = match supervisor.start() {
        Ok(listener) => listener,
        Err(error) => return failed(error, &supervisor.paths),
    };
    loop {
        supervisor.look()?;
        volumes::open_new();
        control::take(&listener, |order| supervisor.carry_out(&order));
        thread::sleep(LOOK_AGAIN);
    }
}

/// Where a part's program is seen inside the cluster.
fn inside(built: &Built, part: &str) -> String {
    Path::new("/run/parts").join(built.below(part)).to_string_lossy().into_owned()
}

/// Waits for the end of standard input, whose other end the keeper holds.
fn listen_to_keeper() -> Receiver<()> {
    let (gone, receiver) = channel();
    thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        // Nobody listens any more only if the supervisor is ending as well.
        let _ = gone.send(());
    });
    receiver
}

impl Supervisor {
    fn prepare(paths: &Paths) -> Result<Self> {
        let started = Instant::now();
        setup::tell_own_number(paths)?;
        let plan = Plan::load(paths)?;
        let built = Built::look_up(paths)?;
        let nodes = plan.nodes();
        let values = setup::values(paths, &plan)?;
        setup::machine(paths, &values, &nodes, &built)?;
        let parts = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubectl",
            "coredns",
            "containerd",
            "ctr",
            "kubelet",
            "kube-proxy",
        ];
        let programs = parts.into_iter().map(|part| (part, inside(&built, part))).collect();
        let environment = setup::environment(&built);
        Ok(Self {
            children: Children::new(Path::new(INSIDE).join("logs"), environment),
            keeper: listen_to_keeper(),
            paths: paths.inside(),
            nodes,
            values,
            programs,
            started,
        })
    }

    /// Takes in what ended. While the cluster starts, a death is the end of it.
    fn look(&mut self) -> Result<usize> {
        if !matches!(self.keeper.try_recv(), Err(TryRecvError::Empty)) {
            bail!("the keeper has ended");
        }
        let deaths = self.children.reap();
        for death in &deaths {
            let (part, how) = (death.part.clone(), death.how.clone());
            let last_lines = death.last_lines.clone();
            events::add(&self.paths, What::Died { part, how, last_lines })?;
        }
        Ok(deaths.len())
    }

    /// Waits until something holds; fails at once if a part dies meanwhile.
    fn wait_until(
        &mut self,
        what: &str,
        pause: Duration,
        mut holds: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let since = Instant::now();
        loop {
            if self.look()? > 0 {
                bail!("waiting for {what}: a part died");
            }
            match holds(self) {
                Ok(()) => return Ok(()),
                Err(error) if since.elapsed() > STEP_DEADLINE => {
                    return Err(error).with_context(|| {
                        format!("{what}: not within {} s", STEP_DEADLINE.as_secs())
                    });
                }
                Err(_) => thread::sleep(pause),
            }
        }
    }

    fn progress(&self, text: &str) -> Result<()> {
        let text = format!("{:5.1} s  {text}", self.started.elapsed().as_secs_f64());
        events::add(&self.paths, What::Progress { text })
    }

    fn node(&self, name: &str) -> Result<Node, String> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("there is no node {name}; there are {}", names.join(", "))
        })
    }

    fn carry_out(&mut self, order: &Order) -> Answer {
        self.obey(order).map_err(|error| format!("{error:#}"))
    }

    fn obey(&mut self, order: &Order) -> Result<String> {
        match order {
            Order::Status => Ok(self.status()),
            Order::Cut { node } => {
                network::set_cable(&self.known(node)?, false)?;
                Ok(format!("{node} is cut off"))
            }
            Order::Heal { node } => self.heal(node),
            Order::Kill { node, part } => {
                self.known(node)?;
                let name = format!("{node}/{}", part.program());
                self.kill(&name)?;
                Ok(format!("{name} is killed; `heal {node}` starts it again"))
            }
            Order::Api { state } => self.api(*state),
        }
    }

    /// Kills a part and waits until it is gone, so that the next order finds it so.
    fn kill(&mut self, name: &str) -> Result<()> {
        self.children.signal(name, Signal::KILL)?;
        let since = Instant::now();
        while self.children.is_running(name) {
            ensure!(since.elapsed() < KILL_DEADLINE, "{name} does not end");
            self.look()?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn known(&self, node: &str) -> Result<Node> {
        self.node(node).map_err(anyhow::Error::msg)
    }

    fn heal(&mut self, node: &str) -> Result<String> {
        network::set_cable(&self.known(node)?, true)?;
        let mut text = format!("{node} is connected");
        for part in NodePart::value_variants() {
            let name = format!("{node}/{}", part.program());
            if self.children.start_again(&name)? {
                text += &format!(", {name} is started again");
            }
        }
        Ok(text)
    }

    fn api(&mut self, state: Api) -> Result<String> {
        let name = "kube-apiserver";
        match state {
            Api::Down => self.kill(name)?,
            Api::Freeze => self.children.signal(name, Signal::STOP)?,
            Api::Up => {
                if !self.children.start_again(name)? {
                    self.children.signal(name, Signal::CONT)?;
                }
            }
        }
        Ok(match state {
            Api::Down => "the apiserver is killed; `api up` starts it again",
            Api::Freeze => "the apiserver is frozen; `api up` lets it go on",
            Api::Up => "the apiserver runs",
        }
        .to_owned())
    }

    fn status(&self) -> String {
        let line = |name: &String| {
            let state = if self.children.is_running(name) { "runs" } else { "does not run" };
            format!("{name}: {state}")
        };
        self.children.names().iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn listen(&self) -> Result<UnixListener> {
        // By the path inside: the socket's name may be at most 107 bytes long.
        let path = Path::new(INSIDE).join("control.sock");
        let listener =
            UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
        listener.set_nonblocking(true).context("listen without waiting")?;
        Ok(listener)
    }
}
