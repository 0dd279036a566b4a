//! The configuration of each part, made from the templates in e2e/cluster/templates: `{{name}}`
//! is replaced, `#` begins a comment in a file of flags.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::plan::{CONTROL, Node, Plan, SERVICES};

/// The image that holds each pod's namespaces.
pub(crate) const PAUSE: &str = "localhost/flare-pause:1";

/// The image that the suite's pods run.
pub(crate) const PROBE: &str = "localhost/flare-probe:1";

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../../cluster/templates/", $name))
    };
}

/// The templates, by the names of their files.
pub(crate) mod templates {
    pub(crate) const ADDONS: &str = template!("addons.yaml");
    pub(crate) const CLUSTER_MOUNTS: &str = template!("cluster.fstab");
    pub(crate) const CNI: &str = template!("cni.conflist");
    pub(crate) const CONTAINERD: &str = template!("containerd.toml");
    pub(crate) const CONTROL_NETWORK: &str = template!("control.ip");
    pub(crate) const COREFILE: &str = template!("Corefile");
    pub(crate) const KUBECONFIG: &str = template!("kubeconfig.yaml");
    pub(crate) const KUBELET: &str = template!("kubelet.yaml");
    pub(crate) const KUBE_PROXY: &str = template!("kube-proxy.yaml");
    pub(crate) const NODE_CABLE: &str = template!("control-node.ip");
    pub(crate) const NODE_MOUNTS: &str = template!("node.fstab");
    pub(crate) const NODE_NETWORK: &str = template!("node.ip");
    pub(crate) const NODE_PEER: &str = template!("node-peer.ip");
}

/// The flags of a part, before anything is replaced in them.
fn flags_template(part: &str) -> Option<&'static str> {
    Some(match part {
        "etcd" => template!("etcd.flags"),
        "kube-apiserver" => template!("kube-apiserver.flags"),
        "kube-controller-manager" => template!("kube-controller-manager.flags"),
        "kube-scheduler" => template!("kube-scheduler.flags"),
        "coredns" => template!("coredns.flags"),
        "containerd" => template!("containerd.flags"),
        "kubelet" => template!("kubelet.flags"),
        "kube-proxy" => template!("kube-proxy.flags"),
        _ => return None,
    })
}

/// What stands in a template for what.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// What holds for the whole cluster.
    pub(crate) fn of_cluster(plan: &Plan, cgroup: &str, cni: &Path) -> Self {
        // CoreDNS knows no cache of no seconds.
        let cache = match plan.dns_cache_s {
            0 => String::new(),
            seconds => format!("cache {seconds}"),
        };
        Self::default()
            .with("control", CONTROL)
            .with("services", SERVICES)
            .with("cgroup", cgroup)
            .with("pause", PAUSE)
            .with("cni", &cni.to_string_lossy())
            .with("dns_ttl", &format!("ttl {}", plan.dns_cache_s))
            .with("dns_cache", &cache)
    }

    /// These, and what holds for one node.
    pub(crate) fn of_node(&self, node: &Node) -> Self {
        self.clone()
            .with("node", &node.name)
            .with("zone", &node.zone)
            .with("address", &node.address)
            .with("pods", &node.pods)
    }

    /// These, and one more.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.insert(name, value.to_owned());
        self
    }

    /// A template with everything replaced. One that asks for more than is known is a mistake.
    pub(crate) fn fill(&self, template: &str) -> Result<String> {
        let mut text = template.to_owned();
        for (name, value) in &self.0 {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        match text.lines().find(|line| line.contains("{{")) {
            Some(line) => bail!("nothing stands for the name in this line of a template: {line}"),
            None => Ok(text),
        }
    }

    /// The flags of a part.
    pub(crate) fn flags(&self, part: &str) -> Result<Vec<String>> {
        let template = flags_template(part).with_context(|| format!("no flags for {part}"))?;
        let text = self.fill(template)?;
        let lines = text.lines().map(str::trim);
        Ok(lines.filter(|line| line.starts_with('-')).map(str::to_owned).collect())
    }
}

/// Everybody who talks to the apiserver: user, groups.
fn users(nodes: &[Node]) -> Vec<(String, String)> {
    let mut users: Vec<(String, String)> = vec![
        ("admin".into(), "system:masters".into()),
        ("system:kube-controller-manager".into(), String::new()),
        ("system:kube-scheduler".into(), String::new()),
        ("system:kube-proxy".into(), String::new()),
        ("coredns".into(), String::new()),
    ];
    for node in nodes {
        users.push((format!("system:node:{}", node.name), "system:nodes".into()));
    }
    users
}

/// Writes the configuration of all parts below `folder`, which every part sees as
/// /run/cluster/config, and the administrator's kubeconfig to `kubeconfig`.
pub(crate) fn write_all(
    values: &Values,
    nodes: &[Node],
    folder: &Path,
    kubeconfig: &Path,
) -> Result<()> {
    let mut tokens = String::new();
    for (user, groups) in users(nodes) {
        let token = token()?;
        tokens += &format!("{token},{user},{user},\"{groups}\"\n");
        let (file, authority) = match user.as_str() {
            // For people, who see the folder elsewhere; a relative path holds from there too.
            "admin" => (kubeconfig.to_path_buf(), "pki/apiserver.crt"),
            user => (folder.join(kubeconfig_of(user)), "/run/cluster/pki/apiserver.crt"),
        };
        let values = values
            .clone()
            .with("user", &user)
            .with("token", &token)
            .with("authority", authority)
            .with("cluster", "flare-cluster");
        write(&file, &values.fill(templates::KUBECONFIG)?)?;
    }
    write(&folder.join("tokens.csv"), &tokens)?;
    write(&folder.join("Corefile"), &values.fill(templates::COREFILE)?)?;
    write(&folder.join("addons.yaml"), &values.fill(templates::ADDONS)?)?;
    for node in nodes {
        let values = values.of_node(node);
        let own = folder.join(&node.name);
        write(&own.join("containerd.toml"), &values.fill(templates::CONTAINERD)?)?;
        write(&own.join("kubelet.yaml"), &values.fill(templates::KUBELET)?)?;
        write(&own.join("kube-proxy.yaml"), &values.fill(templates::KUBE_PROXY)?)?;
        write(&own.join("cni/10-pods.conflist"), &values.fill(templates::CNI)?)?;
        write(&own.join("fstab"), &values.fill(templates::NODE_MOUNTS)?)?;
    }
    Ok(())
}

/// Where a user's kubeconfig is, below the folder of configuration.
fn kubeconfig_of(user: &str) -> String {
    match user.strip_prefix("system:node:") {
        Some(node) => format!("{node}/kubelet.kubeconfig"),
        None => format!("{}.kubeconfig", user.trim_start_matches("system:")),
    }
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// 128 random bits, as hexadecimal digits.
fn token() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Values, Vec<Node>) {
        let plan = Plan { nodes: 2, zones: 2, dns_cache_s: 30 };
        (Values::of_cluster(&plan, "flare-cluster-lab", Path::new("/cni")), plan.nodes())
    }

    #[test]
    fn every_template_can_be_filled() {
        let scratch = tempfile::tempdir().expect("scratch");
        let (values, nodes) = sample();
        let kubeconfig = scratch.path().join("kubeconfig");
        write_all(&values, &nodes, scratch.path(), &kubeconfig).expect("written");
        let read = |name: &str| fs::read_to_string(scratch.path().join(name)).expect(name);
        assert!(read("Corefile").contains("cache 30"));
        assert!(read("node2/kubelet.yaml").contains("cgroupRoot: /flare-cluster-lab/node2"));
        assert!(read("node1/cni/10-pods.conflist").contains("10.244.1.0/24"));
        assert_eq!(read("tokens.csv").lines().count(), 7);
        let node = values.of_node(&nodes[0]);
        for part in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            assert!(!values.flags(part).expect(part).is_empty());
        }
        for part in ["containerd", "kubelet", "kube-proxy"] {
            assert!(!node.flags(part).expect(part).is_empty());
        }
        for template in [templates::NODE_CABLE, templates::NODE_NETWORK, templates::NODE_PEER] {
            node.fill(template).expect("filled");
        }
    }

    #[test]
    fn a_name_that_nothing_stands_for_is_a_mistake() {
        let error = sample().0.fill("a: {{nobody}}").expect_err("unknown");
        assert!(error.to_string().contains("{{nobody}}"), "{error}");
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(token().expect("one"), token().expect("two"));
    }
}
