//! The tests of the harness itself: that clusters stand side by side, that a death is reported,
//! and that nothing stays behind, whichever of its processes is killed in the middle of `up`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::super::events::{self, What};
use super::super::paths::Paths;
use super::super::record::{LOOK_AGAIN, Process, Record};
use super::super::up::hold;
use super::lab::{Ended, Lab};
use super::leftovers::{Before, Namespaces};
use super::{Case, Plan, case};

/// The smallest cluster: what is tested is the harness.
const SMALL: Plan = Plan { nodes: 1, zones: 1, dns_cache_s: 5 };

/// How long a step of `up` may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) fn all() -> Vec<Case> {
    vec![
        case("harness/clusters-stand-side-by-side", clusters_stand_side_by_side),
        case("harness/ctrl-c-during-up", ctrl_c_during_up),
        case("harness/up-killed", up_killed),
        case("harness/keeper-killed", keeper_killed),
        case("harness/guard-killed-then-keeper", guard_killed_then_keeper),
        case("harness/supervisor-killed", supervisor_killed),
        case("harness/all-killed-then-down", all_killed_then_down),
        case("harness/what-is-missing-is-named", what_is_missing_is_named),
        case("harness/a-killed-build-ends-whole", a_killed_build_ends_whole),
    ]
}

/// Another cluster beside the one of the suite.
fn other(lab: &Lab, suffix: &str) -> Result<Lab> {
    Ok(Lab::new(lab.paths().beside(suffix)?))
}

fn clusters_stand_side_by_side(lab: &Lab) -> Result<()> {
    let (one, two) = (other(lab, "b")?, other(lab, "c")?);
    let before = [Before::now(one.paths())?, Before::now(two.paths())?];
    // Both at once: that they do not get in each other's way is part of the matter.
    let paths = one.paths();
    let (_held_one, held) = thread::scope(|scope| {
        let first = scope.spawn(|| hold(paths, &SMALL, &AtomicBool::new(false), |_| {}));
        let second = two.start(&SMALL);
        let first = first.join().unwrap_or_else(|_| bail!("starting a cluster panicked"));
        first.and_then(|first| Ok((first, second?)))
    })?;
    let namespaces = [Namespaces::of(one.paths())?, Namespaces::of(two.paths())?];
    let uid = |lab: &Lab| lab.field("namespace/kube-system", ".metadata.uid");
    ensure!(uid(&one)? != uid(&two)?, "both names lead to one cluster");
    one.down()?;
    before[0].is_again(&namespaces[0])?;
    ensure!(uid(&two).is_ok(), "the second cluster ended with the first");
    a_death_is_reported(&two)?;
    held.end()?;
    before[1].is_again(&namespaces[1])
}

/// Kills a part from outside, as the kernel would when memory is short.
fn a_death_is_reported(lab: &Lab) -> Result<()> {
    let record = Record::load(lab.paths()).context("no cluster runs")?;
    let supervisor = record.supervisor.context("the cluster has no supervisor")?;
    let mut pgrep = Command::new("pgrep");
    pgrep.args(["--exact", "--parent", &supervisor.pid.to_string(), "coredns"]);
    let number = super::super::command::run(&mut pgrep)?;
    Process::now(number.trim().parse().context("no process number")?)?.end()?;
    let since = Instant::now();
    while events::deaths(lab.paths()).is_empty() {
        ensure!(since.elapsed() < PATIENCE, "the death of coredns is not reported");
        thread::sleep(LOOK_AGAIN);
    }
    let output = lab.harness("status")?.output().context("run status")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!output.status.success(), "status succeeds");
    ensure!(said.contains("coredns died: killed by signal 9"), "status says: {said}");
    ensure!(said.contains("  | "), "without the last lines: {said}");
    Ok(())
}

/// A cluster in the middle of `up`: every kind of thing that could be left is there.
struct Underway {
    lab: Lab,
    before: Before,
    namespaces: Namespaces,
    record: Record,
    up: Ended,
}

impl Underway {
    fn begin(lab: &Lab) -> Result<Self> {
        let lab = other(lab, "b")?;
        let before = Before::now(lab.paths())?;
        let mut command = lab.harness("up")?;
        command.args(["--nodes=2", "--zones=1"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut up = Ended(command.spawn().context("run up")?);
        let since = Instant::now();
        let is_underway = |what: &What| match what {
            What::Progress { text } => text.contains("containerd runs"),
            _ => false,
        };
        while !events::all(lab.paths()).iter().any(|event| is_underway(&event.what)) {
            ensure!(since.elapsed() < PATIENCE, "up does not get anywhere");
            if let Some(status) = up.0.try_wait().context("look after up")? {
                bail!("up ended: {status}");
            }
            thread::sleep(LOOK_AGAIN);
        }
        let namespaces = Namespaces::of(lab.paths())?;
        // pid, ipc, and of three network, mount and name namespaces each.
        ensure!(namespaces.count() >= 11, "only {} namespaces to count", namespaces.count());
        let record = Record::load(lab.paths()).context("no record")?;
        Ok(Self { lab, before, namespaces, record, up })
    }

    /// Waits for `up` and for everything to be gone.
    fn wait_until_gone(mut self) -> Result<()> {
        let since = Instant::now();
        while self.up.0.try_wait().context("look after up")?.is_none() {
            if since.elapsed() > PATIENCE {
                let _ = self.up.0.kill();
                bail!("up does not end");
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.before.is_again(&self.namespaces)
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process number")?;
    kill_process(pid, signal).context("send a signal")
}

fn ctrl_c_during_up(lab: &Lab) -> Result<()> {
    let mut underway = Underway::begin(lab)?;
    signal(underway.up.0.id(), Signal::INT)?;
    let status = underway.up.0.wait().context("wait for up")?;
    ensure!(status.code() == Some(130), "up ended with {status}");
    // It waited until all was gone, so nothing is left at this moment.
    ensure!(!underway.lab.paths().state().exists(), "up ended before its cluster");
    underway.wait_until_gone()
}

fn up_killed(lab: &Lab) -> Result<()> {
    let underway = Underway::begin(lab)?;
    signal(underway.up.0.id(), Signal::KILL)?;
    underway.wait_until_gone()
}

fn keeper_killed(lab: &Lab) -> Result<()> {
    let underway = Underway::begin(lab)?;
    signal(underway.record.keeper.pid, Signal::KILL)?;
    underway.wait_until_gone()
}

/// The keeper makes another guard, which does its work when the keeper is killed later.
fn guard_killed_then_keeper(lab: &Lab) -> Result<()> {
    let underway = Underway::begin(lab)?;
    let first = underway.record.guard.context("no guard")?;
    signal(first.pid, Signal::KILL)?;
    let since = Instant::now();
    loop {
        let guard = Record::load(underway.lab.paths()).and_then(|record| record.guard);
        if guard.is_some_and(|guard| guard != first && guard.is_alive()) {
            break;
        }
        ensure!(since.elapsed() < PATIENCE, "no other guard is made");
        thread::sleep(LOOK_AGAIN);
    }
    signal(underway.record.keeper.pid, Signal::KILL)?;
    underway.wait_until_gone()
}

fn supervisor_killed(lab: &Lab) -> Result<()> {
    let underway = Underway::begin(lab)?;
    let supervisor = underway.record.supervisor.context("no supervisor")?;
    signal(supervisor.pid, Signal::KILL)?;
    underway.wait_until_gone()
}

/// The worst case: nobody is left to clean up, so the next command does.
fn all_killed_then_down(lab: &Lab) -> Result<()> {
    let underway = Underway::begin(lab)?;
    let record = &underway.record;
    for process in [record.guard, Some(record.keeper), record.door].into_iter().flatten() {
        signal(process.pid, Signal::KILL)?;
    }
    signal(underway.up.0.id(), Signal::KILL)?;
    for process in [record.guard, Some(record.keeper), record.supervisor].into_iter().flatten() {
        process.end()?;
    }
    ensure!(underway.lab.paths().state().exists(), "nothing is left to clean up");
    underway.lab.down()?;
    underway.wait_until_gone()
}

/// Everything that a build started has this in its environment.
const MARK: &str = "FLARE_CLUSTER_BUILD";

/// A compiler that is not ended with its build goes on for longer than this.
const BUILD_ENDS: Duration = Duration::from_secs(10);

/// Go and its compilers end with the program that started them, and the next build begins anew.
fn a_killed_build_ends_whole(lab: &Lab) -> Result<()> {
    let paths = other(lab, "b")?.paths().clone();
    let empty = paths.state().with_extension("empty");
    let root = paths.state().parent().map(Path::to_path_buf);
    let lab = Lab::new(Paths::new(paths.name(), Some(empty.clone()), root)?);
    let mark = format!("{MARK}={}", paths.name());
    let killed = (|| {
        let mut command = lab.harness("build")?;
        // Nothing is compiled yet, so that it takes a while.
        command.env(MARK, paths.name()).env("GOCACHE", empty.join("go"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut build = Ended(command.spawn().context("run build")?);
        let compiles = || marked(&mark).iter().any(|(_, name)| name == "compile");
        until(PATIENCE, "no compiler is started", compiles)?;
        signal(build.0.id(), Signal::KILL)?;
        build.0.wait().context("wait for the build")?;
        until(BUILD_ENDS, "the build goes on", || marked(&mark).is_empty())
    })();
    for (pid, _) in marked(&mark) {
        // Only after a failure; it may have ended meanwhile.
        let _ = signal(pid, Signal::KILL);
    }
    let removed = fs::remove_dir_all(&empty).context("remove the cache of the build");
    killed.and(removed)
}

fn until(limit: Duration, else_say: &str, holds: impl Fn() -> bool) -> Result<()> {
    let since = Instant::now();
    while !holds() {
        ensure!(since.elapsed() < limit, "{else_say}, after {limit:?}");
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The processes with this in their environment: number and name.
fn marked(mark: &str) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_marked = |environment: Vec<u8>| {
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| fs::read(format!("/proc/{pid}/environ")).is_ok_and(is_marked))
        .filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/comm")).ok()?)))
        .map(|(pid, name)| (pid, name.trim().to_owned()))
        .collect()
}

fn what_is_missing_is_named(lab: &Lab) -> Result<()> {
    let paths = other(lab, "b")?.paths().clone();
    // An empty cache, so that Go is needed; no PATH, so that it is not there.
    let empty = paths.state().with_extension("empty");
    let root = paths.state().parent().map(Path::to_path_buf);
    let lab = Lab::new(Paths::new(paths.name(), Some(empty.clone()), root)?);
    let output = lab.harness("up")?.env("PATH", "/nonexistent").output().context("run up");
    let removed = fs::remove_dir_all(&empty);
    let (output, ()) = (output?, removed.context("remove the empty cache")?);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it started");
    for words in ["go is missing", "apt-get install", "golang-go"] {
        ensure!(said.contains(words), "it does not say {words:?}: {said}");
    }
    Ok(())
}
