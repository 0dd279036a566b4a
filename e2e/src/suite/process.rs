//! One process under test: started with its output in files, signalled by its own id, and ended
//! whatever happens to the runner.
//!
//! Two things end it: dropping [`Process`] kills it, and the kernel kills it when the runner dies
//! without dropping anything (`setpriv --pdeathsig`, which sets PR_SET_PDEATHSIG before it
//! becomes the program). It gets a process group of its own, so that Ctrl-C reaches the runner
//! only.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::network;

/// What to start.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The group that it runs in, if not the runner's.
    pub group: Option<u32>,
}

impl Program {
    /// A program without arguments.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), group: None }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// The same program with `hosts` in place of /etc/hosts. Needs root.
    #[must_use]
    pub fn with_hosts(self, hosts: &Path) -> Self {
        self.after_mount(r#"mount --bind "$0" /etc/hosts && exec "$@""#, &[hosts.as_os_str()])
    }

    /// The same program with an empty disk of `kib` KiB, in memory, at `folder`. Needs root.
    #[must_use]
    pub fn with_disk(self, folder: &Path, kib: u32) -> Self {
        let options = format!("size={kib}k");
        let script = r#"mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@""#;
        self.after_mount(script, &[options.as_ref(), folder.as_os_str()])
    }

    /// The same program in a mount namespace of its own, after a shell script that gets `args`
    /// as `$0` and on, and the program behind them.
    fn after_mount(self, script: &str, args: &[&OsStr]) -> Self {
        let shell = Self::new("unshare").arg("--mount").arg("sh").arg("-c").arg(script);
        let shell = args.iter().fold(shell, Self::arg).arg(&self.path);
        self.args.iter().fold(shell, Self::arg)
    }

    /// The same program in a group of this number, where rules of the network tell programs
    /// apart by it.
    #[must_use]
    pub fn in_group(mut self, group: u16) -> Self {
        self.group = network::is_own().then(|| u32::from(group));
        self
    }

    /// Adds `--name value`.
    #[must_use]
    pub fn flag(self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.arg(name).arg(value.to_string())
    }
}

/// A running (or ended, but not yet waited for) process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `program`; its output goes to `<name>.out` and `<name>.log` in `folder`, which are
    /// continued if they exist, so that one file tells the story of all restarts.
    pub fn start(name: &str, program: &Program, folder: &Path) -> Result<Self> {
        let out = folder.join(format!("{name}.out"));
        let err = folder.join(format!("{name}.log"));
        let open = |path: &Path| -> Result<File> {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot write {}", path.display()))
        };
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig").arg("KILL");
        if let Some(group) = program.group {
            command.arg("--regid").arg(group.to_string()).arg("--clear-groups");
        }
        command.arg("--").arg(&program.path).args(&program.args);
        command.stdin(Stdio::null()).stdout(open(&out)?).stderr(open(&err)?);
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().with_context(|| {
            format!("cannot start {name} ({}); is setpriv installed?", program.path.display())
        })?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| anyhow!("{name} ended before it had an id"))?;
        Ok(Self { name: name.to_owned(), child, pid, out, err })
    }

    /// The process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The file with its standard output.
    pub fn stdout_file(&self) -> &Path {
        &self.out
    }

    /// The file with its standard error.
    pub fn stderr_file(&self) -> &Path {
        &self.err
    }

    /// Sends a signal. An error if the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot look after {}", self.name))
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("cannot wait for {}", self.name)),
            Err(_) => bail!("{} still runs after {deadline:?}", self.name),
        }
    }

    /// SIGKILL, and waits for the end, so that its sockets are closed when this returns.
    pub async fn kill(mut self) -> Result<()> {
        self.child.start_kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.wait(Duration::from_secs(10)).await.map(drop)
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn sleeper() -> Program {
        Program::new("sleep").arg("600")
    }

    fn alive(id: i32) -> bool {
        // a zombie is dead too: only the state of a living process counts
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        })
    }

    #[tokio::test]
    async fn dropping_a_process_ends_it_even_when_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start("sleeper", &sleeper(), folder.path()).unwrap();
        let id = process.id();
        process.signal(Signal::STOP).unwrap();
        assert!(alive(id));
        drop(process);
        super::super::eventually(Duration::from_secs(10), "its end", || async {
            if alive(id) { Err(anyhow!("{id} lives")) } else { Ok(()) }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn output_and_exit_status_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::new("sh").arg("-c").arg("echo hello; echo oops >&2; exit 7");
        let mut process = Process::start("talker", &program, folder.path()).unwrap();
        let status = process.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(fs::read_to_string(process.stdout_file()).unwrap(), "hello\n");
        assert_eq!(fs::read_to_string(process.stderr_file()).unwrap(), "oops\n");
    }
}
