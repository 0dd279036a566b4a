//! What the tests have in their hands: a cluster, kubectl, and waiting with a deadline that ends
//! at once when a part of the cluster dies.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::super::command::{run, run_with_input};
use super::super::control::{self, Order};
use super::super::enter;
use super::super::events;
use super::super::paths::Paths;
use super::super::plan::Plan;
use super::super::record::Record;
use super::super::up::{Held, hold};

/// How long a test waits for what takes seconds on an idle machine: long, so that a busy machine
/// does not make a sound cluster fail.
const PATIENCE: Duration = Duration::from_secs(90);

/// Pause between two looks. Each costs a process.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The Kubernetes namespace in which the tests work.
pub(super) const NAMESPACE: &str = "suite";

/// A cluster under test.
pub(super) struct Lab {
    paths: Paths,
    /// How many deaths of parts were reported already.
    deaths: Cell<usize>,
    /// What was measured and is to be in the report.
    notes: RefCell<Vec<String>>,
    /// What runs in the data nodes' pods instead of the stand-in.
    flared: Option<PathBuf>,
}

impl Lab {
    pub(super) fn new(paths: Paths) -> Self {
        Self { paths, deaths: Cell::new(0), notes: RefCell::default(), flared: None }
    }

    /// The same with a flared of somebody's own.
    pub(super) fn with_flared(self, flared: Option<PathBuf>) -> Self {
        Self { flared, ..self }
    }

    /// A flared that is to run instead of the stand-in.
    pub(super) fn flared(&self) -> Option<&Path> {
        self.flared.as_deref()
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Starts the cluster; it ends with what is returned, or with this process.
    pub(super) fn start(&self, plan: &Plan) -> Result<Held> {
        self.deaths.set(0);
        let started = hold(&self.paths, plan, &AtomicBool::new(false), |_| {})?;
        started.context("nobody interrupted it, but it was interrupted")
    }

    /// Ends the cluster, as a person would.
    pub(super) fn down(&self) -> Result<()> {
        run(&mut self.harness("down")?).map(drop)
    }

    /// A command of the harness on this cluster.
    pub(super) fn harness(&self, verb: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.args(["cluster", verb]).args(self.paths.arguments());
        Ok(command)
    }

    /// Notes something for the report.
    pub(super) fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    /// Takes the notes since the last time.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Gives the cluster an order.
    pub(super) fn order(&self, order: &Order) -> Result<String> {
        control::give(&self.paths, order)
    }

    /// Runs kubectl in the suite's namespace; the words are separated by single blanks.
    pub(super) fn kubectl(&self, words: &str) -> Result<String> {
        self.kubectl_words(&words.split(' ').collect::<Vec<_>>())
    }

    /// Runs kubectl with arguments that may hold blanks.
    pub(super) fn kubectl_words(&self, words: &[&str]) -> Result<String> {
        let mut command = enter::kubectl_command(&self.paths)?;
        command.arg(format!("--namespace={NAMESPACE}")).args(words);
        run(&mut command).map(|text| text.trim_end().to_owned())
    }

    /// Runs kubectl with a file on its standard input.
    pub(super) fn kubectl_with(&self, words: &str, input: &str) -> Result<String> {
        let mut command = enter::kubectl_command(&self.paths)?;
        command.arg(format!("--namespace={NAMESPACE}")).args(words.split(' '));
        run_with_input(&mut command, input)
    }

    /// One field of an object, by its JSON path.
    pub(super) fn field(&self, object: &str, path: &str) -> Result<String> {
        self.kubectl(&format!("get {object} --output=jsonpath={{{path}}}"))
    }

    /// Runs the suite's program inside a pod.
    pub(super) fn probe(&self, pod: &str, words: &str) -> Result<String> {
        self.kubectl(&format!("exec {pod} -- /usr/bin/probe {words}"))
    }

    /// Looks until something holds; fails after a deadline, or at once if a part dies.
    pub(super) fn eventually<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let since = Instant::now();
        loop {
            let last = match look() {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            self.check_parts()?;
            if since.elapsed() > PATIENCE {
                return Err(last.context(format!("waited {PATIENCE:?} in vain for {what}")));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until a field of an object has a value.
    pub(super) fn until(&self, object: &str, path: &str, value: &str) -> Result<()> {
        self.eventually(&format!("{path} of {object} to be {value:?}"), || {
            let found = self.field(object, path)?;
            ensure!(found == value, "it is {found:?}");
            Ok(())
        })
    }

    /// Fails if a part died since the last look.
    pub(super) fn check_parts(&self) -> Result<()> {
        let deaths = events::deaths(&self.paths);
        let known = self.deaths.replace(deaths.len());
        match deaths.get(known..) {
            Some(news) if !news.is_empty() => bail!("{}", news.join("\n")),
            _ => Ok(()),
        }
    }

    /// What a server answers to a plain HTTP request, asked from the cluster's control plane.
    pub(super) fn http(&self, address: &str, path: &str) -> Result<String> {
        let record = Record::load(&self.paths).context("no cluster runs")?;
        let supervisor = record.supervisor.context("the cluster has no supervisor")?;
        let network = File::open(format!("/proc/{}/ns/net", supervisor.pid))
            .context("open the cluster's network")?;
        thread::scope(|scope| {
            // A thread of its own, since it does not come back out of that network.
            let asking = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("enter the cluster's network")?;
                ask(address, path)
            });
            asking.join().unwrap_or_else(|_| Err(anyhow!("asking panicked")))
        })
    }
}

/// A child that is ended when it goes out of scope.
pub(super) struct Ended(pub(super) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(address: &str, path: &str) -> Result<String> {
    let mut socket =
        TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    socket.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
    write!(socket, "GET {path} HTTP/1.0\r\nHost: probe\r\n\r\n").context("ask")?;
    let mut answer = BufReader::new(socket);
    let mut line = String::new();
    answer.read_line(&mut line).context("read the answer")?;
    ensure!(line.contains(" 200 "), "{line}");
    let mut length = 0;
    // The headers end with an empty line. The connection may be reset after the last byte, so no
    // more is read than the answer says that it has.
    while !line.trim().is_empty() {
        line.clear();
        answer.read_line(&mut line).context("read the answer")?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().context("read the answer's length")?;
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).context("read the answer")?;
    Ok(String::from_utf8_lossy(&body).trim_end().to_owned())
}
