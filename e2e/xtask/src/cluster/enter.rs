//! Running programs in a cluster's network from outside: kubectl, anything else, and `ctr` on a
//! node. Files are those of the machine; only the network is the cluster's.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::command::run;
use super::network;
use super::parts::Built;
use super::paths::Paths;
use super::plan::{Node, Plan};
use super::record::{Process, Record};

/// Becomes `kubectl` with these arguments.
pub(crate) fn kubectl(paths: &Paths, arguments: &[String]) -> Result<ExitCode> {
    become_program(kubectl_command(paths)?.args(arguments))
}

/// Runs `kubectl` to its end; what it prints.
pub(crate) fn kubectl_output(paths: &Paths, arguments: &[&str]) -> Result<String> {
    run(kubectl_command(paths)?.args(arguments))
}

/// `kubectl` as the cluster's administrator.
pub(crate) fn kubectl_command(paths: &Paths) -> Result<Command> {
    let kubectl = Built::look_up(paths)?.program("kubectl");
    in_network(paths, &kubectl.to_string_lossy())
}

/// Becomes any program, in the cluster's network, with KUBECONFIG set and kubectl on PATH.
pub(crate) fn program(paths: &Paths, line: &[String]) -> Result<ExitCode> {
    let (program, arguments) = line.split_first().context("name a program")?;
    become_program(in_network(paths, program)?.args(arguments))
}

/// Gives every node the images of these archives.
pub(crate) fn load(paths: &Paths, archives: &[impl AsRef<Path> + Sync]) -> Result<()> {
    let (nodes, supervisor) = (Plan::load(paths)?.nodes(), supervisor(paths)?);
    let built = Built::look_up(paths)?;
    let ctr = Path::new("/run/parts").join(built.below("ctr"));
    for archive in archives {
        let archive = archive.as_ref();
        let ctr = &ctr;
        let loaded: Vec<Result<String>> = thread::scope(|scope| {
            let load_one = |node| scope.spawn(move || load_on(supervisor, node, ctr, archive));
            let running: Vec<_> = nodes.iter().map(load_one).collect();
            let ended = running.into_iter().map(|thread| thread.join());
            ended.map(|result| result.unwrap_or_else(|_| bail!("loading panicked"))).collect()
        });
        for (node, result) in nodes.iter().zip(loaded) {
            result.with_context(|| format!("load {} on {}", archive.display(), node.name))?;
        }
    }
    Ok(())
}

fn load_on(supervisor: Process, node: &Node, ctr: &Path, archive: &Path) -> Result<String> {
    let file = File::open(archive).context("open the archive")?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={}", supervisor.pid)).args(["--mount", "--pid", "--net", "--"]);
    command.args(network::prefix(node)).arg(ctr);
    command.args(["--namespace=k8s.io", "images", "import", "-"]);
    let output = command.stdin(file).output().context("start nsenter")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program in the network of the cluster's control plane.
pub(crate) fn in_network(paths: &Paths, program: &str) -> Result<Command> {
    let supervisor = supervisor(paths)?;
    let kubectl = Built::look_up(paths)?.program("kubectl");
    let mut path = kubectl.parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", supervisor.pid)).arg("--").arg(program);
    command
        .env("KUBECONFIG", paths.kubeconfig())
        // kubectl keeps what it looked up; with the cluster's files it goes when they go.
        .env("KUBECACHEDIR", paths.state().join("home/cache"))
        .env("PATH", path);
    Ok(command)
}

/// The network of a node, as a file that can be entered.
pub(crate) fn network_of(paths: &Paths, node: &str) -> Result<PathBuf> {
    let supervisor = supervisor(paths)?;
    let name = network::name_of(node, "net");
    let root = PathBuf::from(format!("/proc/{}/root", supervisor.pid));
    // It leads to the process that holds the namespace, by the number that this process has
    // inside the cluster; outside it has another.
    let link = root.join(name.strip_prefix("/").unwrap_or(&name));
    let target = fs::read_link(&link).with_context(|| format!("there is no node {node}"))?;
    let inner = target.components().nth(2).context("not a process")?.as_os_str().to_os_string();
    let children = format!("/proc/{0}/task/{0}/children", supervisor.pid);
    let children = fs::read_to_string(&children).with_context(|| format!("read {children}"))?;
    let holder = children.split_whitespace().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let last = numbers.and_then(|numbers| numbers.split_whitespace().last());
        last.is_some_and(|number| *number == *inner)
    });
    let holder = holder.with_context(|| format!("nobody holds the network of {node}"))?;
    Ok(PathBuf::from(format!("/proc/{holder}/ns/net")))
}

fn supervisor(paths: &Paths) -> Result<Process> {
    let record = Record::load(paths).and_then(|record| record.supervisor);
    record.filter(|process| process.is_alive()).with_context(|| {
        format!("no cluster {0:?} runs; start it with: cluster up --name {0}", paths.name())
    })
}

fn become_program(command: &mut Command) -> Result<ExitCode> {
    command.stdin(Stdio::inherit());
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", command.get_program().to_string_lossy()))
}
