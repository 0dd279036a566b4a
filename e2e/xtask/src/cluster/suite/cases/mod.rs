//! The tests that look at a running cluster. They share one set of pods (e2e/cluster/suite) and
//! run one after another; those that break something come last, and put it right again.

mod access;
mod faults;
mod network;
mod workloads;

use anyhow::{Result, ensure};

use super::lab::{Lab, NAMESPACE};
use super::{Case, PLAN};

macro_rules! manifest {
    ($name:literal) => {
        include_str!(concat!("../../../../../cluster/suite/", $name))
    };
}
use manifest;

/// All of them, in their order.
pub(super) fn all() -> Vec<Case> {
    let mut cases = workloads::all();
    cases.extend(network::all());
    cases.extend(access::all());
    cases.extend(faults::all());
    cases
}

/// Starts the pods that most tests look at.
pub(super) fn prepare(lab: &Lab) -> Result<()> {
    lab.kubectl(&format!("create namespace {NAMESPACE}"))?;
    lab.kubectl_with("apply --filename=-", manifest!("web.yaml"))?;
    all_are_ready(lab)
}

/// Waits until all pods of the set are Ready, each with its Service endpoint.
fn all_are_ready(lab: &Lab) -> Result<()> {
    lab.until("statefulset/web", ".status.readyReplicas", &PLAN.nodes.to_string())?;
    lab.until("statefulset/web", ".status.replicas", &PLAN.nodes.to_string())
}

/// Fails unless a command is refused, with these words in the reason.
fn refused(outcome: Result<String>, words: &str) -> Result<()> {
    match outcome {
        Ok(said) => anyhow::bail!("nobody refused it: {said}"),
        Err(error) => {
            let reason = format!("{error:#}");
            ensure!(reason.contains(words), "refused, but not with {words:?}: {reason}");
            Ok(())
        }
    }
}
