//! Pods, their volumes and their images.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::super::super::parts::Built;
use super::super::lab::Lab;
use super::super::{Case, PLAN, case};
use super::all_are_ready;
use crate::image;

pub(super) fn all() -> Vec<Case> {
    vec![
        case("workloads/a-second-up-changes-nothing", a_second_up_changes_nothing),
        case("workloads/pods-are-dealt-out-to-zones", pods_are_dealt_out_to_zones),
        case("workloads/exec-as-the-numeric-user", exec_as_the_numeric_user),
        case("workloads/a-claimed-volume-outlives-its-pod", a_claimed_volume_outlives_its_pod),
        case("workloads/a-memory-volume-outlives-its-container", a_memory_volume),
        case("workloads/a-loaded-image-runs-on-every-node", a_loaded_image_runs),
    ]
}

fn a_second_up_changes_nothing(lab: &Lab) -> Result<()> {
    let before = lab.field("namespace/kube-system", ".metadata.uid")?;
    let output = lab.harness("up")?.output().context("run up again")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("runs already"), "it said: {said}");
    ensure!(lab.field("namespace/kube-system", ".metadata.uid")? == before, "another cluster");
    Ok(())
}

fn pods_are_dealt_out_to_zones(lab: &Lab) -> Result<()> {
    let label = ".items[*].metadata.labels.topology\\.kubernetes\\.io/zone";
    let mut zones: Vec<String> = lab.field("nodes", label)?.split(' ').map(str::to_owned).collect();
    zones.sort();
    ensure!(zones == ["zone-a", "zone-b", "zone-c"], "zones of the nodes: {zones:?}");
    let nodes = lab.field("pods", ".items[*].spec.nodeName")?;
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    nodes.dedup();
    ensure!(nodes.len() == usize::from(PLAN.nodes), "nodes of the pods: {nodes:?}");
    Ok(())
}

fn exec_as_the_numeric_user(lab: &Lab) -> Result<()> {
    let user = lab.probe("web-0", "id")?;
    ensure!(user == "65532:65532", "the pod runs as {user}");
    Ok(())
}

fn a_claimed_volume_outlives_its_pod(lab: &Lab) -> Result<()> {
    lab.probe("web-0", "write /data/kept here")?;
    ensure!(lab.probe("web-0", "filesystem /data")?.starts_with("disk"), "not on a disk");
    let before = lab.field("pod/web-0", ".metadata.uid")?;
    lab.kubectl("delete pod web-0")?;
    all_are_ready(lab)?;
    ensure!(lab.field("pod/web-0", ".metadata.uid")? != before, "still the same pod");
    ensure!(lab.probe("web-0", "read /data/kept")? == "here", "the file changed");
    ensure!(lab.probe("web-1", "read /data/kept").is_err(), "another pod has the same volume");
    Ok(())
}

fn a_memory_volume(lab: &Lab) -> Result<()> {
    let kind = lab.probe("web-1", "filesystem /memory")?;
    ensure!(kind == "memory", "it is on {kind}");
    lab.probe("web-1", "write /memory/kept here")?;
    let before = lab.field("pod/web-1", ".metadata.uid")?;
    lab.probe("web-1", "end")?;
    lab.until("pod/web-1", ".status.containerStatuses[0].restartCount", "1")?;
    all_are_ready(lab)?;
    ensure!(lab.field("pod/web-1", ".metadata.uid")? == before, "another pod");
    ensure!(lab.probe("web-1", "read /memory/kept")? == "here", "the file changed");
    lab.kubectl("delete pod web-1")?;
    all_are_ready(lab)?;
    ensure!(lab.probe("web-1", "read /memory/kept").is_err(), "the file outlived its pod");
    Ok(())
}

fn a_loaded_image_runs(lab: &Lab) -> Result<()> {
    let program = Built::look_up(lab.paths())?.program("probe");
    let archive = lab.paths().state().join("loaded.tar");
    let bytes = image::of_static_program("localhost/flare-loaded:1", &program)?;
    fs::write(&archive, bytes).context("write the image")?;
    let output = lab.harness("load")?.arg(&archive).output().context("run load")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for node in PLAN.nodes() {
        let pod = format!("loaded-{}", node.name);
        let overrides = format!(r#"{{"spec":{{"nodeName":"{}"}}}}"#, node.name);
        lab.kubectl_words(&[
            "run",
            &pod,
            "--image=localhost/flare-loaded:1",
            "--image-pull-policy=Never",
            "--restart=Never",
            &format!("--overrides={overrides}"),
            "--",
            "id",
        ])?;
    }
    for node in PLAN.nodes() {
        let pod = format!("loaded-{}", node.name);
        lab.until(&format!("pod/{pod}"), ".status.phase", "Succeeded")?;
        ensure!(lab.kubectl(&format!("logs {pod}"))? == "65532:65532", "its log is another");
    }
    Ok(())
}
