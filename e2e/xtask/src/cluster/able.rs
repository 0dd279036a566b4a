//! Whether this machine lets a cluster be made: namespaces, mounts, network, packet rules and
//! control groups. A container or a hardened machine may refuse any of them to root as well. Each
//! is tried once, in namespaces that end at once, so that a refusal is told by its name before
//! anything is started and not found in the log of some part.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::cgroups;
use super::command::{run, words};
use super::paths::Paths;

/// What is tried: a command, what it stands for, and what to do where it is refused.
struct Trial(&'static str, &'static str, &'static str);

const REFUSED: &str = "this machine does not let a cluster be made";

/// What most refusals come from.
const PRIVILEGED: &str = "in a container, it has to be a privileged one";

const TRIALS: &[Trial] = &[
    Trial(
        "unshare --mount --net --pid --ipc --uts --fork --kill-child=KILL true",
        "namespaces of its own",
        PRIVILEGED,
    ),
    Trial("unshare --mount mount -t tmpfs none /tmp", "mounts in a namespace", PRIVILEGED),
    Trial(
        "unshare --mount --pid --fork --kill-child=KILL mount -t proc proc /proc",
        "a /proc of its own",
        PRIVILEGED,
    ),
    Trial(
        "unshare --net ip link add probe type bridge",
        "a network bridge",
        "the kernel needs the module bridge (modprobe bridge)",
    ),
    Trial(
        "unshare --net ip link add probe type veth peer name probe2",
        "a virtual network cable",
        "the kernel needs the module veth (modprobe veth)",
    ),
    Trial(
        "unshare --net nft add table ip probe; add chain ip probe nat { type nat hook postrouting \
         priority 100 ; }",
        "packet rules with translated addresses",
        "the kernel needs nf_tables and nft_chain_nat (modprobe nft_chain_nat)",
    ),
];

/// The control groups that a kubelet does not start without.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// Refuses to go on unless the machine lets a cluster be made. The caller is root and has the
/// programs.
pub(crate) fn check(paths: &Paths) -> Result<()> {
    let mut refused = Vec::new();
    for Trial(line, what, hint) in TRIALS {
        note(&mut refused, what, hint, run(&mut words(line)).map(drop));
        // Each trial is in namespaces: without them all of them fail, and say nothing more.
        if !refused.is_empty() && what == &TRIALS[0].1 {
            bail!("{REFUSED}:\n{}", refused.join("\n"));
        }
    }
    let hint = "is it on an overlay itself? name a folder on another file system with --state";
    let what = format!("an overlay mount in {}", paths.state().display());
    note(&mut refused, &what, hint, overlay(paths));
    let hint = "mount them, or in a container give it the machine's (--cgroupns=host)";
    note(&mut refused, "control groups", hint, control_groups(paths));
    if refused.is_empty() {
        return Ok(());
    }
    bail!("{REFUSED}:\n{}", refused.join("\n"));
}

fn note(refused: &mut Vec<String>, what: &str, hint: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        refused.push(format!("  {what}: {error:#}\n    {hint}"));
    }
}

/// A mount as containerd makes for each container, on the file system where it will be.
fn overlay(paths: &Paths) -> Result<()> {
    let folder = paths.state().with_extension(format!("able-{}", std::process::id()));
    let sides = ["lower", "upper", "work", "all"].map(|side| folder.join(side));
    let tried = sides
        .iter()
        .try_for_each(|side| fs::create_dir_all(side).context("make a folder"))
        .and_then(|()| {
            let [lower, upper, work, all] = &sides;
            let show = Path::display;
            let (lower, upper, work) = (show(lower), show(upper), show(work));
            let mut mount = words("unshare --mount mount -t overlay overlay -o");
            mount.arg(format!("lowerdir={lower},upperdir={upper},workdir={work}"));
            run(mount.arg(all)).map(drop)
        });
    let removed = fs::remove_dir_all(&folder).context("remove the folder of the trial");
    tried.and(removed)
}

fn control_groups(paths: &Paths) -> Result<()> {
    let group = format!("{}-able-{}", paths.cgroup(), std::process::id());
    let tried = cgroups::create(&group, &[]);
    let removed = cgroups::remove(&group);
    tried.and(removed)?;
    let there = cgroups::controllers()?;
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| !there.iter().any(|have| have == name)).collect();
    if missing.is_empty() { Ok(()) } else { bail!("there is none for {}", missing.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_refused_why_and_what_to_do() {
        let mut refused = Vec::new();
        let line = run(&mut words("ls /nonexistent")).map(drop);
        note(&mut refused, "a network bridge", "modprobe bridge", line);
        note(&mut refused, "namespaces", "nothing", Ok(()));
        let text = refused.join("\n");
        assert!(text.starts_with("  a network bridge: ls /nonexistent: "), "{text}");
        assert!(text.ends_with("\n    modprobe bridge"), "{text}");
        assert_eq!(refused.len(), 1);
    }
}
