//! The keeper and its guard: two small processes outside of the cluster. The keeper starts the
//! supervisor in namespaces of its own and cleans up when it ends; the guard waits for the
//! keeper's end and, if that came without cleaning up, does it in its place. So of keeper, guard
//! and supervisor any one may be killed at any moment and nothing stays behind.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::cgroups;
use super::clean;
use super::events::{self, What};
use super::lock::Lock;
use super::paths::Paths;
use super::plan::Plan;
use super::record::{LOOK_AGAIN, Process, Record};

/// What `up` says on the keeper's standard input when the cluster is to go on without it.
pub(super) const GO_ON: u8 = b'+';

/// The supervisor ends as soon as its input does; a machine under load may take longer.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(10);

/// What a keeper holds. The order of the fields is the order in which pipes are closed.
struct Keeper {
    paths: Paths,
    lock: Lock,
    record: Record,
    guard: Guard,
    door: Child,
    /// Closing it ends the supervisor.
    leash: Option<ChildStdin>,
}

/// The guard's process. It would take the end of its input for the end of the keeper and clean up
/// beside it, so it is ended first.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process that called `up` said.
enum Caller {
    GoOn,
    Gone,
}

/// Starts a cluster and keeps it until it ends or is to end; then removes everything of it.
pub(crate) fn keep(paths: &Paths, plan: &Plan) -> Result<()> {
    // Away from the terminal: what it sends on Ctrl-C is for `up`, which then closes our input.
    rustix::process::setsid().context("leave the terminal's session")?;
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told_to_end))
            .context("listen to signals")?;
    }
    let Some(lock) = Lock::try_take(paths)? else {
        bail!("another command is starting or ending the cluster {:?}", paths.name());
    };
    clean::everything(paths)?;
    let caller = listen_to_caller();
    let kept = Keeper::start(paths, plan, &lock).and_then(|mut keeper| {
        let ended = keeper.watch(&caller, &told_to_end);
        keeper.end();
        ended
    });
    let cleaned = clean::everything(paths);
    lock.remove(paths)?;
    kept.and(cleaned)
}

/// Waits for the keeper's end, then cleans up if it did not.
pub(crate) fn guard(paths: &Paths) -> Result<()> {
    rustix::process::setsid().context("leave the terminal's session")?;
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
    clean::everything(paths)?;
    // Our standard output is a share of the lock, so nobody else has it yet.
    match fs::remove_file(paths.lock()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove the lock")
        }
        _ => Ok(()),
    }
}

fn listen_to_caller() -> Receiver<Caller> {
    let (said, receiver) = channel();
    thread::spawn(move || {
        let mut byte = [0];
        let heard = std::io::stdin().read(&mut byte).is_ok_and(|count| count == 1);
        // The receiver is gone only when the keeper is ending anyway.
        let _ = said.send(if heard && byte[0] == GO_ON { Caller::GoOn } else { Caller::Gone });
    });
    receiver
}

impl Keeper {
    fn start(paths: &Paths, plan: &Plan, lock: &Lock) -> Result<Self> {
        let logs = paths.logs();
        fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        let log = File::create(logs.join("harness.log")).context("open the harness' log")?;
        rustix::stdio::dup2_stdout(&log).context("write to the log")?;
        rustix::stdio::dup2_stderr(&log).context("write to the log")?;
        plan.store(paths)?;
        let keeper = Process::now(std::process::id())?;
        let mut record = Record { keeper, guard: None, door: None, supervisor: None };
        record.store(paths)?;
        let guard = spawn_guard(paths, lock)?;
        record.guard = Process::now(guard.0.id()).ok();
        record.store(paths)?;
        let names: Vec<String> = plan.nodes().into_iter().map(|node| node.name).collect();
        cgroups::create(&paths.cgroup(), &names)?;
        let mut door = spawn_supervisor(paths, &log)?;
        record.door = Process::now(door.id()).ok();
        record.store(paths)?;
        let leash = door.stdin.take();
        let lock = Lock::try_clone(lock)?;
        Ok(Self { paths: paths.clone(), lock, record, guard, door, leash })
    }

    /// Watches until the cluster ends or is to end; an error if nobody wanted that.
    fn watch(&mut self, caller: &Receiver<Caller>, told_to_end: &AtomicBool) -> Result<()> {
        let mut adopted = false;
        loop {
            if self.record.supervisor.is_none() {
                self.note_supervisor()?;
            }
            if let Some(status) = self.door.try_wait().context("look after the supervisor")? {
                bail!("the supervisor ended: {status}");
            }
            if self.guard.0.try_wait().context("look after the guard")?.is_some() {
                self.guard = spawn_guard(&self.paths, &self.lock)?;
                self.record.guard = Process::now(self.guard.0.id()).ok();
                self.record.store(&self.paths)?;
            }
            if told_to_end.load(Ordering::Relaxed) {
                return Ok(());
            }
            match caller.recv_timeout(LOOK_AGAIN) {
                Ok(Caller::GoOn) => adopted = true,
                Ok(Caller::Gone) if !adopted => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_AGAIN),
                Ok(Caller::Gone) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn note_supervisor(&mut self) -> Result<()> {
        let number = fs::read_to_string(self.paths.supervisor()).ok();
        if let Some(pid) = number.and_then(|text| text.trim().parse().ok()) {
            self.record.supervisor = Process::now(pid).ok();
            self.record.store(&self.paths)?;
        }
        Ok(())
    }

    /// Ends the supervisor, and with it the cluster.
    fn end(&mut self) {
        drop(self.leash.take());
        let since = Instant::now();
        while since.elapsed() < SUPERVISOR_DEADLINE {
            if !matches!(self.door.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
        // What is left is killed by the cleaning that follows.
        let _ = events::add(
            &self.paths,
            What::Failed { text: "the supervisor does not end by itself".to_owned() },
        );
    }
}

/// A guard whose input ends when this process does, and which shares the lock.
fn spawn_guard(paths: &Paths, lock: &Lock) -> Result<Guard> {
    Command::new("/proc/self/exe")
        .args(["cluster", "guard"])
        .args(paths.arguments())
        .stdin(Stdio::piped())
        .stdout(lock.share()?)
        .spawn()
        .map(Guard)
        .context("start the guard")
}

/// The supervisor, first process in new namespaces, behind the `unshare` that made them.
fn spawn_supervisor(paths: &Paths, log: &File) -> Result<Child> {
    let log = || log.try_clone().context("share the log");
    let program = std::env::current_exe().context("find this program")?;
    Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--ipc", "--uts"])
        .args(["--fork", "--kill-child=KILL", "--propagation=private", "--"])
        .arg(program)
        .args(["cluster", "supervise"])
        .args(paths.arguments())
        .stdin(Stdio::piped())
        .stdout(log()?)
        .stderr(log()?)
        .spawn()
        .context("start the supervisor")
}
