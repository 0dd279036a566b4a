//! `up`, `down` and `status`: what a person at a terminal has to do with the keeper.

use std::io::Write;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::able;
use super::clean;
use super::control::{self, Order};
use super::enter;
use super::events::{self, What};
use super::keep::GO_ON;
use super::lock::Lock;
use super::needs;
use super::parts::Built;
use super::paths::Paths;
use super::plan::Plan;
use super::record::{LOOK_AGAIN, Record};

/// Longest time until a cluster is gone. It takes less than a second on an idle machine.
const END_DEADLINE: Duration = Duration::from_secs(60);

/// The exit code of a program that was interrupted, as shells give it.
const INTERRUPTED: u8 = 130;

/// What is there under a cluster's name.
enum Found {
    /// Nothing, or nothing any more.
    Nothing,
    /// A cluster, every node of which was Ready.
    Running(Plan),
    /// A cluster that is being started or ended.
    Changing,
}

/// Starts a cluster and waits until every node is Ready. With `foreground` it stays, tells of
/// every part that dies, and ends the cluster when it is interrupted.
pub(crate) fn up(paths: &Paths, plan: &Plan, foreground: bool) -> Result<ExitCode> {
    plan.check()?;
    match look(paths)? {
        Found::Running(found) if found == *plan => {
            say!("cluster {:?} runs already; nothing is changed", paths.name());
            return Ok(ExitCode::SUCCESS);
        }
        Found::Running(found) => bail!(
            "cluster {0:?} runs already, with {1} nodes in {2} zones and {3} s of DNS cache; end \
             it first (cluster down --name {0}), or give another name",
            paths.name(),
            found.nodes,
            found.zones,
            found.dns_cache_s
        ),
        Found::Changing => bail!("cluster {:?} is being started or ended", paths.name()),
        Found::Nothing => {}
    }
    ready_to_start(paths)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .context("listen to signals")?;
    }
    let started = Instant::now();
    let Some(mut held) = hold(paths, plan, &interrupted, |text| say!("{text}"))? else {
        say!("cluster {:?} is gone", paths.name());
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let took = started.elapsed().as_secs_f64();
    say!("cluster {:?} is up after {took:.1} s: {} nodes", paths.name(), plan.nodes);
    if !foreground {
        held.let_go()?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("Ctrl-C ends it");
    held.watch(paths, &interrupted)?;
    held.end()?;
    say!("cluster {:?} is gone", paths.name());
    Ok(ExitCode::from(INTERRUPTED))
}

/// Says whether a cluster can be made here.
pub(crate) fn check(paths: &Paths) -> Result<ExitCode> {
    let built = Built::look_up(paths)?.is_complete();
    needs::check_for_start(built)?;
    able::check(paths)?;
    let parts = if built { "its parts are built" } else { "its parts are yet to be built" };
    say!("a cluster can be made on this machine; {parts}");
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that all is there that a cluster needs; builds the parts if need be.
pub(crate) fn ready_to_start(paths: &Paths) -> Result<()> {
    needs::check_for_start(Built::look_up(paths)?.is_complete())?;
    able::check(paths)?;
    Built::complete(paths).map(drop)
}

/// A cluster that lasts as long as this value, and no longer than this process.
pub(crate) struct Held {
    keeper: Child,
    /// How many events were shown already.
    shown: usize,
}

/// Starts a cluster and waits until every node is Ready; `None` if it was interrupted. If it does
/// not start, or is interrupted, it is gone when this returns.
pub(crate) fn hold(
    paths: &Paths,
    plan: &Plan,
    interrupted: &AtomicBool,
    show: impl Fn(&str),
) -> Result<Option<Held>> {
    let mut held = Held { keeper: spawn_keeper(paths, plan)?, shown: 0 };
    match held.follow(paths, interrupted, show) {
        Ok(true) => Ok(Some(held)),
        Ok(false) => held.end().map(|()| None),
        Err(error) => {
            // Why it did not start says more than how the keeper ended.
            let _ = held.end();
            Err(error)
        }
    }
}

impl Held {
    /// Lets the cluster go on without this process.
    fn let_go(mut self) -> Result<()> {
        let mut link = self.keeper.stdin.take().context("the keeper has no input")?;
        link.write_all(&[GO_ON]).context("tell the keeper to go on")?;
        // It is not ours any more, so it is not waited for.
        std::mem::forget(self);
        Ok(())
    }

    /// Ends the cluster and waits until everything of it is gone.
    pub(crate) fn end(mut self) -> Result<()> {
        let ended = self.close()?;
        ensure!(ended.success(), "the keeper ended with {ended}; `down` removes what is left");
        Ok(())
    }

    fn close(&mut self) -> Result<ExitStatus> {
        // Closing its input is what tells the keeper to end.
        drop(self.keeper.stdin.take());
        self.keeper.wait().context("wait for the keeper")
    }

    /// Shows what happens until the cluster is ready (true), is to end (false), or fails.
    fn follow(
        &mut self,
        paths: &Paths,
        interrupted: &AtomicBool,
        show: impl Fn(&str),
    ) -> Result<bool> {
        let mut trouble = Vec::new();
        loop {
            let ended = self.keeper.try_wait().context("look after the keeper")?;
            let events = events::all(paths);
            for event in events.iter().skip(self.shown) {
                self.shown += 1;
                match &event.what {
                    What::Ready => return Ok(true),
                    What::Progress { text } => show(text),
                    other => trouble.push(other.text()),
                }
            }
            let failed = events.iter().any(|event| matches!(event.what, What::Failed { .. }));
            if failed || ended.is_some() {
                bail!("cluster {:?} did not start\n{}", paths.name(), trouble.join("\n"));
            }
            if interrupted.load(Ordering::Relaxed) {
                return Ok(false);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Tells of deaths until the cluster ends or this program is interrupted.
    fn watch(&mut self, paths: &Paths, interrupted: &AtomicBool) -> Result<()> {
        while !interrupted.load(Ordering::Relaxed) {
            if let Some(status) = self.keeper.try_wait().context("look after the keeper")? {
                bail!("the cluster ended by itself: {status}");
            }
            for event in events::all(paths).iter().skip(self.shown) {
                self.shown += 1;
                say!("{}", event.what.text());
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // There is nobody to tell; the next command cleans up what is left.
        let _ = self.close();
    }
}

/// Ends a cluster. Ending one that is not there is no mistake.
pub(crate) fn down(paths: &Paths) -> Result<ExitCode> {
    if let Some(lock) = Lock::try_take(paths)? {
        let text = if clean::after_a_crash(paths, lock)? { "what a crash left" } else { "nothing" };
        say!("cluster {:?} does not run; {text} was removed", paths.name());
        return Ok(ExitCode::SUCCESS);
    }
    let started = Instant::now();
    if let Some(record) = Record::load(paths).filter(|record| record.keeper.is_alive())
        && let Some(pid) = i32::try_from(record.keeper.pid).ok().and_then(Pid::from_raw)
    {
        kill_process(pid, Signal::TERM).context("tell the keeper to end")?;
    }
    loop {
        if let Some(lock) = Lock::try_take(paths)? {
            lock.remove(paths)?;
            say!("cluster {:?} is gone", paths.name());
            return Ok(ExitCode::SUCCESS);
        }
        if started.elapsed() > END_DEADLINE {
            bail!("cluster {:?} is still there after {END_DEADLINE:?}", paths.name());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Says how a cluster is; fails if a part of it died.
pub(crate) fn status(paths: &Paths) -> Result<ExitCode> {
    match look(paths)? {
        Found::Nothing => {
            say!("cluster {:?} does not run", paths.name());
            return Ok(ExitCode::FAILURE);
        }
        Found::Changing => {
            say!("cluster {:?} is being started or ended", paths.name());
            return Ok(ExitCode::FAILURE);
        }
        Found::Running(plan) => {
            say!("cluster {:?}: {} nodes, {} zones", paths.name(), plan.nodes, plan.zones);
        }
    }
    say!("{}", control::give(paths, &Order::Status)?);
    say!("logs: {}", paths.logs().display());
    match enter::kubectl_output(
        paths,
        &["get", "nodes", "--label-columns=topology.kubernetes.io/zone"],
    ) {
        Ok(nodes) => say!("{}", nodes.trim_end()),
        Err(error) => say!("kubectl: {error:#}"),
    }
    let deaths = events::deaths(paths);
    for death in &deaths {
        say!("{death}");
    }
    Ok(if deaths.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(paths: &Paths) -> Result<Found> {
    if let Some(lock) = Lock::try_take(paths)? {
        if clean::after_a_crash(paths, lock)? {
            say!("removed what an earlier cluster {:?} left when it crashed", paths.name());
        }
        return Ok(Found::Nothing);
    }
    let ready = events::all(paths).iter().any(|event| event.what == What::Ready);
    Ok(if ready { Found::Running(Plan::load(paths)?) } else { Found::Changing })
}

fn spawn_keeper(paths: &Paths, plan: &Plan) -> Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    Command::new(program)
        .args(["cluster", "keep"])
        .args(paths.arguments())
        .arg(format!("--nodes={}", plan.nodes))
        .arg(format!("--zones={}", plan.zones))
        .arg(format!("--dns-cache={}", plan.dns_cache_s))
        .stdin(Stdio::piped())
        .spawn()
        .context("start the keeper")
}
