//! Services, names, ways in, and no way out.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::super::super::command::run;
use super::super::super::enter;
use super::super::lab::{Ended, Lab, NAMESPACE};
use super::super::{Case, PLAN, case};
use super::{all_are_ready, in_service, refused};

pub(super) fn all() -> Vec<Case> {
    vec![
        case("network/a-service-answers-from-every-node", a_service_answers),
        case("network/a-pod-has-a-name-and-knows-it", a_pod_has_a_name),
        case("network/a-name-that-is-not-there-is-not-found", a_wrong_name_is_not_found),
        case("network/a-pod-that-is-not-ready-leaves-its-service", not_ready_leaves),
        case("network/port-forward", port_forward),
        case("network/there-is-no-way-out", there_is_no_way_out),
    ]
}

fn pods() -> Vec<String> {
    (0..PLAN.nodes).map(|number| format!("web-{number}")).collect()
}

fn a_service_answers(lab: &Lab) -> Result<()> {
    for pod in pods() {
        let url = format!("get http://front.{NAMESPACE}.svc.cluster.local/");
        let answer = lab.eventually("the Service to answer", || lab.probe(&pod, &url))?;
        ensure!(pods().contains(&answer), "{answer:?} answered");
    }
    Ok(())
}

fn a_pod_has_a_name(lab: &Lab) -> Result<()> {
    let address = lab.field("pod/web-1", ".status.podIP")?;
    let name = format!("web-1.web.{NAMESPACE}.svc.cluster.local");
    lab.eventually("the pod's name to be its address", || {
        let found = lab.probe("web-0", &format!("lookup {name}"))?;
        ensure!(found == address, "{name} is {found}, not {address}");
        Ok(())
    })?;
    let answer = lab.probe("web-0", &format!("get http://{name}:8080/"))?;
    ensure!(answer == "web-1", "{answer:?} answered");
    Ok(())
}

fn a_wrong_name_is_not_found(lab: &Lab) -> Result<()> {
    let outcome = lab.probe("web-0", &format!("lookup nobody.{NAMESPACE}.svc.cluster.local"));
    refused(outcome, "no such host")
}

fn not_ready_leaves(lab: &Lab) -> Result<()> {
    all_are_ready(lab)?;
    lab.kubectl("scale statefulset/web --replicas=2")?;
    lab.eventually("a pod to leave the Service", || {
        let count = in_service(lab)?;
        ensure!(count == 2, "{count} pods are in it");
        Ok(())
    })?;
    lab.kubectl("scale statefulset/web --replicas=3")?;
    all_are_ready(lab)
}

fn port_forward(lab: &Lab) -> Result<()> {
    let mut command = enter::kubectl_command(lab.paths())?;
    command.arg(format!("--namespace={NAMESPACE}"));
    command.args(["port-forward", "--address=127.0.0.1", "pod/web-2", ":8080"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Ended(child.context("start kubectl port-forward")?);
    let mut line = String::new();
    // Kept open: kubectl ends when it cannot say that it handles a connection.
    let mut output = BufReader::new(child.0.stdout.take().context("it has no output")?);
    output.read_line(&mut line).context("read where it listens")?;
    // Forwarding from 127.0.0.1:41234 -> 8080
    let address = line.split(' ').nth(2).with_context(|| format!("it said {line:?}"))?;
    let answer = lab.http(address, "/")?;
    drop(output);
    ensure!(answer == "web-2", "{answer:?} answered");
    Ok(())
}

fn there_is_no_way_out(lab: &Lab) -> Result<()> {
    let mut ip = enter::in_network(lab.paths(), "ip")?;
    let routes = run(ip.args(["route", "show", "default"]))?;
    ensure!(routes.trim() == "unreachable default", "the control plane has a way out: {routes}");
    let mut ip = enter::in_network(lab.paths(), "ip")?;
    let links = run(ip.args(["-brief", "link"]))?;
    for link in links.lines() {
        let own = ["lo", "cluster", "node"].iter().any(|name| link.starts_with(name));
        ensure!(own || link.contains("DOWN"), "a link that is not the cluster's: {link}");
    }
    // An address that is set aside for documentation, so that nobody would be reached by it.
    refused(lab.probe("web-0", "get http://192.0.2.1/"), "no route to host")
}
