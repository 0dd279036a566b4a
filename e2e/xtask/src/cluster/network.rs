//! The namespaces of the nodes and the cables between them, all inside the cluster's own network
//! namespace, which has no way out. Runs in the supervisor.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::command::{run, run_with_input, words};
use super::config::{Values, templates};
use super::plan::Node;

/// Where the namespaces of nodes have their names, inside the cluster.
const NAMESPACES: &str = "/run/ns";

/// The kinds of namespaces that each node has of its own, and nsenter's options for them.
const KINDS: [(&str, &str); 3] = [("net", "--net"), ("mnt", "--mount"), ("uts", "--uts")];

/// Making namespaces takes milliseconds.
const HOLDER_DEADLINE: Duration = Duration::from_secs(20);

/// Makes the control plane's end of the network.
pub(crate) fn make_control(values: &Values) -> Result<()> {
    batch(Command::new("ip"), &values.fill(templates::CONTROL_NETWORK)?)
}

/// The command of the process that holds a node's namespaces for as long as it lives.
pub(crate) fn holder() -> Vec<String> {
    words_of("unshare --mount --net --uts --propagation private -- sleep infinity")
}

/// Makes a node of the namespaces that `holder` holds: names for them, mounts, a cable, and ways
/// to the others.
pub(crate) fn make_node(values: &Values, node: &Node, others: &[Node], holder: u32) -> Result<()> {
    wait_for_holder(holder)?;
    for (kind, _) in KINDS {
        let name = name_of(&node.name, kind);
        let folder = name.parent().context("a name is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        // A name by a bind mount would outlive the holder, but the kernel refuses that for some
        // mount namespaces: only for one with a higher number, and numbers are dealt per CPU.
        symlink(format!("/proc/{holder}/ns/{kind}"), name)
            .with_context(|| format!("name the namespaces of {}", node.name))?;
    }
    let own = values.of_node(node);
    run(entering(node, "hostname").arg(&node.name))?;
    let mounts = format!("/run/cluster/config/{}/fstab", node.name);
    run(entering(node, "mount").args(["--all", "--fstab", &mounts]))?;
    batch(Command::new("ip"), &own.fill(templates::NODE_CABLE)?)?;
    let mut lines = own.fill(templates::NODE_NETWORK)?;
    for other in others.iter().filter(|other| other.name != node.name) {
        lines += &values.of_node(other).fill(templates::NODE_PEER)?;
    }
    batch(entering(node, "ip"), &lines)
}

/// Waits until `unshare` has made the namespaces, which is when it becomes `sleep`.
fn wait_for_holder(holder: u32) -> Result<()> {
    let since = Instant::now();
    let name = format!("/proc/{holder}/comm");
    while fs::read_to_string(&name).is_ok_and(|comm| comm.trim() != "sleep") {
        ensure!(since.elapsed() < HOLDER_DEADLINE, "no namespaces after {HOLDER_DEADLINE:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Pulls a node's cable, or plugs it in.
pub(crate) fn set_cable(node: &Node, plugged_in: bool) -> Result<()> {
    let state = if plugged_in { "up" } else { "down" };
    run(&mut words(&format!("ip link set {} {state}", node.name))).map(drop)
}

/// The name, inside the cluster, of one of a node's namespaces.
pub(crate) fn name_of(node: &str, kind: &str) -> PathBuf {
    Path::new(NAMESPACES).join(node).join(kind)
}

/// A program on a node, for the supervisor.
pub(crate) fn entering(node: &Node, program: &str) -> Command {
    let line = prefix(node);
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).arg(program);
    command
}

/// The words before a command that make it run on a node. It takes the place of `nsenter`, so
/// that the process keeps its number.
pub(crate) fn prefix(node: &Node) -> Vec<String> {
    let mut line = vec!["nsenter".to_owned()];
    for (kind, option) in KINDS {
        line.push(format!("{option}={}", name_of(&node.name, kind).display()));
    }
    line.push("--".to_owned());
    line
}

fn words_of(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn batch(mut ip: Command, lines: &str) -> Result<()> {
    run_with_input(ip.args(["-batch", "-"]), lines).map(drop)
}
