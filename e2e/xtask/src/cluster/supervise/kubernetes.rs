//! Starting the parts of Kubernetes in their order, each as soon as what it needs is there, until
//! every node is Ready.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{INSIDE, Supervisor};
use crate::cluster::command::run;
use crate::cluster::events::{self, What};
use crate::cluster::network;
use crate::cluster::plan::Node;

/// How often the apiserver is asked. Each question costs a process.
const ASK_AGAIN: Duration = Duration::from_millis(150);

impl Supervisor {
    /// Starts everything; the socket for orders, once every node is Ready.
    pub(super) fn start(&mut self) -> Result<UnixListener> {
        for part in ["etcd", "kube-apiserver"] {
            self.start_part(part)?;
        }
        for node in self.nodes.clone() {
            self.make_node(&node).with_context(|| format!("make {}", node.name))?;
            self.start_node_part(&node, "containerd")?;
        }
        self.progress("namespaces, mounts and network are made")?;
        self.wait_until("containerd", ASK_AGAIN, Self::load_own_images)?;
        self.progress("containerd runs on every node")?;
        self.wait_until("the apiserver", ASK_AGAIN, |this| {
            ensure!(Path::new(INSIDE).join("pki/apiserver.crt").exists(), "no certificate yet");
            this.kubectl(&["get", "--raw=/readyz"]).map(drop)
        })?;
        self.progress("the apiserver answers")?;
        for part in ["kube-controller-manager", "kube-scheduler", "coredns"] {
            self.start_part(part)?;
        }
        for node in self.nodes.clone() {
            self.start_node_part(&node, "kubelet")?;
            self.start_node_part(&node, "kube-proxy")?;
        }
        let addons = format!("{INSIDE}/config/addons.yaml");
        self.wait_until("the storage class", ASK_AGAIN, |this| {
            this.kubectl(&["apply", "-f", &addons]).map(drop)
        })?;
        self.wait_until("the nodes", ASK_AGAIN, Self::nodes_are_ready)?;
        // Without it, the admission of the first pod would fail.
        self.wait_until("the default service account", ASK_AGAIN, |this| {
            this.kubectl(&["get", "serviceaccount", "default", "--output=name"]).map(drop)
        })?;
        self.progress(&format!("{} nodes are Ready", self.nodes.len()))?;
        let listener = self.listen()?;
        events::add(&self.paths, What::Ready)?;
        Ok(listener)
    }

    fn make_node(&mut self, node: &Node) -> Result<()> {
        let holder = format!("{}/namespaces", node.name);
        self.children.add(&holder, network::holder())?;
        let number = self.children.pid(&holder).context("its holder has no number")?;
        network::make_node(&self.values, node, &self.nodes, number)
    }

    fn start_part(&mut self, part: &'static str) -> Result<()> {
        let mut command = vec![self.program(part)?];
        command.extend(self.values.flags(part)?);
        self.children.add(part, command)
    }

    fn start_node_part(&mut self, node: &Node, part: &'static str) -> Result<()> {
        let mut command = network::prefix(node);
        command.push(self.program(part)?);
        command.extend(self.values.of_node(node).flags(part)?);
        self.children.add(&format!("{}/{part}", node.name), command)
    }

    fn program(&self, part: &'static str) -> Result<String> {
        self.programs.get(part).cloned().with_context(|| format!("no program {part}"))
    }

    fn load_own_images(&mut self) -> Result<()> {
        let ctr = self.program("ctr")?;
        for node in &self.nodes {
            for image in ["pause", "probe"] {
                let mut command = network::entering(node, &ctr);
                command.args(["--namespace=k8s.io", "images", "import"]);
                run(command.arg(format!("{INSIDE}/{image}.tar")))?;
            }
        }
        Ok(())
    }

    fn nodes_are_ready(&mut self) -> Result<()> {
        let template =
            "--output=jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        let states = self.kubectl(&["get", "nodes", template])?;
        let ready = states.split_whitespace().filter(|state| *state == "True").count();
        ensure!(ready == self.nodes.len(), "{ready} of {} are Ready", self.nodes.len());
        Ok(())
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.program("kubectl")?);
        command.env("HOME", format!("{INSIDE}/home"));
        command.arg(format!("--kubeconfig={INSIDE}/kubeconfig"));
        run(command.arg("--request-timeout=5s").args(arguments))
    }
}
