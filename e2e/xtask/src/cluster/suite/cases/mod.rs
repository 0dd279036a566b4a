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

/// Waits until all pods of the set are Ready, and in their Service. The pods themselves are asked:
/// the set's own count is behind for a moment after one was deleted.
fn all_are_ready(lab: &Lab) -> Result<()> {
    let ready = ".items[*].status.conditions[?(@.type==\"Ready\")].status";
    let going = ".items[*].metadata.deletionTimestamp";
    let wanted = vec!["True"; usize::from(PLAN.nodes)].join(" ");
    lab.eventually("all pods to be Ready", || {
        let pods = "pods --selector=app=web";
        let (found, going) = (lab.field(pods, ready)?, lab.field(pods, going)?);
        ensure!(found == wanted && going.is_empty(), "Ready: {found:?}, going: {going:?}");
        Ok(())
    })?;
    lab.eventually("all pods to be in the Service", || {
        let count = in_service(lab)?;
        ensure!(count == usize::from(PLAN.nodes), "{count} pods are in it");
        Ok(())
    })
}

/// How many pods the Service sends clients to.
fn in_service(lab: &Lab) -> Result<usize> {
    let ready = ".items[0].endpoints[?(@.conditions.ready==true)].targetRef.name";
    let slice = "endpointslices --selector=kubernetes.io/service-name=front";
    Ok(lab.field(slice, ready)?.split(' ').filter(|name| !name.is_empty()).count())
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
