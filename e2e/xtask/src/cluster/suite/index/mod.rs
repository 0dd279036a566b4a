//! The tests of `deploy/index`: the index and nodes in real pods, with the stand-in as the node.
//! Something happens to them; masters move as they should, every acknowledged key is there, and
//! deleted keys stay deleted.

mod faults;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::super::command::run;
use super::super::enter;
use super::lab::{Lab, NAMESPACE};
use super::{Case, case};
use crate::image::{self, Kind};
use crate::repository;
use world::{PARTITIONS, inside};

/// What stands for something else in a manifest: its file, the words, what is there instead.
type Replaced = (&'static str, &'static str, &'static str);

/// The images that were just built for those that the manifests name, and the stand-in's program.
const REPLACED: [Replaced; 3] = [
    ("index.yaml", "image: flare-operator:dev", "image: localhost/flare-operator:dev"),
    ("nodes.yaml", "image: flared:1.3.4", "image: localhost/flare-node:dev"),
    ("nodes.yaml", "command: [flared]", "command: [/usr/bin/flare-e2e, node]"),
];

/// The same for a flared of somebody's own, which is started as the manifest says.
const REPLACED_WITH_FLARED: [Replaced; 2] =
    [REPLACED[0], ("nodes.yaml", "image: flared:1.3.4", "image: localhost/flared:dev")];

/// All of them, in their order.
pub(super) fn all() -> Vec<Case> {
    let mut cases = vec![case("index/nodes-register-by-their-names", nodes_register)];
    cases.extend(faults::all());
    cases
}

/// Builds and loads the images, starts the pods, and waits until every partition is served.
pub(super) fn prepare(lab: &Lab) -> Result<()> {
    let operator = archive(lab, Kind::Operator, &image::build(Kind::Operator, false)?)?;
    let (node, replaced) = match lab.flared() {
        Some(flared) => (archive(lab, Kind::Flared, flared)?, &REPLACED_WITH_FLARED[..]),
        None => (archive(lab, Kind::Node, &image::build(Kind::Node, false)?)?, &REPLACED[..]),
    };
    let archives = [operator, node];
    enter::load(lab.paths(), &archives)?;
    lab.kubectl(&format!("create namespace {NAMESPACE}"))?;
    for name in ["index.yaml", "nodes.yaml"] {
        lab.kubectl_with("apply --filename=-", &manifest(name, replaced)?)?;
    }
    inside(lab, |world| world.settled().map(drop))
}

/// Of development builds: what is tested is what the code does, not how fast.
fn archive(lab: &Lab, kind: Kind, program: &Path) -> Result<PathBuf> {
    let path = lab.paths().state().join(format!("{}.tar", kind.name()));
    fs::write(&path, image::of_program(kind, program)?)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// A manifest of deploy/index with this machine's images in it.
fn manifest(name: &str, replaced: &[Replaced]) -> Result<String> {
    let path = repository().join("deploy/index").join(name);
    let mut text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    for (_, from, to) in replaced.iter().filter(|(file, ..)| *file == name) {
        ensure!(text.matches(from).count() == 1, "{} does not say {from:?} once", path.display());
        text = text.replace(from, to);
    }
    Ok(text)
}

fn nodes_register(lab: &Lab) -> Result<()> {
    inside(lab, |world| {
        let map = world.settled()?;
        for number in 0..4 {
            let name = format!("flare-{number}.flare-nodes.{NAMESPACE}.svc.cluster.local:12121");
            map.node(&name)?;
        }
        ensure!(map.0.len() == 4, "there are more nodes than pods:\n{map}");
        for partition in 0..PARTITIONS {
            ensure!(map.master(partition).is_some(), "no master of {partition}:\n{map}");
        }
        Ok(())
    })
}

/// Kills the process of a container as the machine sees it, with no chance to say goodbye.
fn kill_container(marks: &[&str]) -> Result<()> {
    let found = fs::read_dir("/proc").context("read /proc")?.flatten().find_map(|entry| {
        let number = entry.file_name().into_string().ok()?.parse::<u32>().ok()?;
        let line = fs::read(Path::new("/proc").join(number.to_string()).join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        marks.iter().all(|mark| line.contains(mark)).then_some(number)
    });
    let number = found.with_context(|| format!("no process with {marks:?} runs"))?;
    run(Command::new("kill").arg("-KILL").arg(number.to_string())).map(drop)
}
