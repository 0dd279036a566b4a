//! Breaking things and putting them right again.

use anyhow::{Result, ensure};

use super::super::super::control::{Api, NodePart, Order};
use super::super::lab::{Lab, NAMESPACE};
use super::super::{Case, case};
use super::{all_are_ready, refused};

pub(super) fn all() -> Vec<Case> {
    vec![
        case("faults/an-eviction-respects-the-budget", an_eviction_respects_the_budget),
        case("faults/a-drained-node-loses-its-pods", a_drained_node_loses_its_pods),
        case("faults/pods-go-on-without-a-kubelet", pods_go_on_without_a_kubelet),
        case("faults/pods-go-on-without-containerd", pods_go_on_without_containerd),
        case("faults/a-frozen-apiserver-answers-nobody", a_frozen_apiserver),
        case("faults/pods-go-on-without-an-apiserver", pods_go_on_without_an_apiserver),
        case("faults/a-node-that-is-cut-off-is-noticed", a_node_that_is_cut_off),
    ]
}

fn node_is_ready(lab: &Lab, node: &str, value: &str) -> Result<()> {
    let path = ".status.conditions[?(@.type==\"Ready\")].status";
    lab.until(&format!("node/{node}"), path, value)
}

fn evict(lab: &Lab, pod: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction");
    let eviction =
        format!(r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{pod}"}}}}"#);
    lab.kubectl_with(&format!("create --raw={path} --filename=-"), &eviction)
}

fn an_eviction_respects_the_budget(lab: &Lab) -> Result<()> {
    let limit = |value: u8| {
        let patch = format!(r#"--patch={{"spec":{{"maxUnavailable":{value}}}}}"#);
        lab.kubectl_words(&["patch", "poddisruptionbudget", "web", "--type=merge", &patch])
    };
    limit(0)?;
    lab.until("poddisruptionbudget/web", ".status.disruptionsAllowed", "0")?;
    refused(evict(lab, "web-2"), "violate the pod's disruption budget")?;
    limit(1)?;
    lab.until("poddisruptionbudget/web", ".status.disruptionsAllowed", "1")?;
    let before = lab.field("pod/web-2", ".metadata.uid")?;
    evict(lab, "web-2")?;
    lab.eventually("the evicted pod to be another", || {
        ensure!(lab.field("pod/web-2", ".metadata.uid")? != before, "it is still there");
        Ok(())
    })?;
    all_are_ready(lab)
}

fn a_drained_node_loses_its_pods(lab: &Lab) -> Result<()> {
    let node = lab.field("pod/web-0", ".spec.nodeName")?;
    lab.kubectl(&format!("drain {node} --ignore-daemonsets --delete-emptydir-data --force"))?;
    all_are_ready(lab)?;
    let pods = lab
        .field(&format!("pods --field-selector=spec.nodeName={node}"), ".items[*].metadata.name")?;
    ensure!(pods.is_empty(), "still on {node}: {pods}");
    lab.kubectl(&format!("uncordon {node}"))?;
    Ok(())
}

/// The identity and address of a pod, which stay the same as long as nobody replaces it.
fn identity(lab: &Lab, pod: &str) -> Result<String> {
    lab.field(
        &format!("pod/{pod}"),
        ".metadata.uid}:{.status.podIP}:{.status.containerStatuses[0].containerID",
    )
}

fn pods_go_on_without_a_kubelet(lab: &Lab) -> Result<()> {
    without(lab, NodePart::Kubelet)
}

fn pods_go_on_without_containerd(lab: &Lab) -> Result<()> {
    without(lab, NodePart::Containerd)
}

fn without(lab: &Lab, part: NodePart) -> Result<()> {
    let (before, node) = (identity(lab, "web-1")?, lab.field("pod/web-1", ".spec.nodeName")?);
    let address = lab.field("pod/web-1", ".status.podIP")?;
    lab.order(&Order::Kill { node: node.clone(), part })?;
    ensure!(lab.http(&format!("{address}:8080"), "/")? == "web-1", "another pod answers");
    lab.order(&Order::Heal { node: node.clone() })?;
    node_is_ready(lab, &node, "True")?;
    // Exec needs both: it shows that they work, not only that they run.
    lab.eventually("exec to work again", || lab.probe("web-1", "id"))?;
    all_are_ready(lab)?;
    ensure!(identity(lab, "web-1")? == before, "the pod was replaced");
    Ok(())
}

fn a_frozen_apiserver(lab: &Lab) -> Result<()> {
    lab.order(&Order::Api { state: Api::Freeze })?;
    let outcome = lab.kubectl("get pods --request-timeout=1s");
    lab.order(&Order::Api { state: Api::Up })?;
    ensure!(outcome.is_err(), "a frozen apiserver answered");
    lab.eventually("the apiserver to answer again", || lab.kubectl("get pods"))?;
    Ok(())
}

fn pods_go_on_without_an_apiserver(lab: &Lab) -> Result<()> {
    let (before, address) = (identity(lab, "web-1")?, lab.field("pod/web-1", ".status.podIP")?);
    lab.order(&Order::Api { state: Api::Down })?;
    let outcome = lab.kubectl("get pods --request-timeout=1s");
    let answer = lab.http(&format!("{address}:8080"), "/");
    lab.order(&Order::Api { state: Api::Up })?;
    ensure!(outcome.is_err(), "a killed apiserver answered");
    ensure!(answer? == "web-1", "another pod answered");
    lab.eventually("the apiserver to answer again", || lab.kubectl("get --raw=/readyz"))?;
    all_are_ready(lab)?;
    ensure!(identity(lab, "web-1")? == before, "the pod was replaced");
    Ok(())
}

fn a_node_that_is_cut_off(lab: &Lab) -> Result<()> {
    let (before, node) = (identity(lab, "web-1")?, lab.field("pod/web-1", ".spec.nodeName")?);
    lab.order(&Order::Cut { node: node.clone() })?;
    node_is_ready(lab, &node, "Unknown")?;
    let path = ".status.conditions[?(@.type==\"Ready\")].status";
    lab.until("pod/web-1", path, "False")?;
    lab.order(&Order::Heal { node: node.clone() })?;
    node_is_ready(lab, &node, "True")?;
    lab.until("pod/web-1", path, "True")?;
    ensure!(identity(lab, "web-1")? == before, "the pod was replaced");
    Ok(())
}
