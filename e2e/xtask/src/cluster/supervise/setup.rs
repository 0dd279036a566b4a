//! What the supervisor makes before the first part starts: folders, configuration, mounts, the
//! control plane's network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::INSIDE;
use crate::cluster::command::run;
use crate::cluster::config::{self, PAUSE, PROBE, Values, templates};
use crate::cluster::needs;
use crate::cluster::network;
use crate::cluster::parts::Built;
use crate::cluster::paths::Paths;
use crate::cluster::plan::{Node, Plan};
use crate::image;

/// What the kubelet wants these settings of the machine to be (setupKernelTunables in
/// pkg/kubelet/cm/container_manager_linux.go). It is shown files that say so, since it would
/// change them for the whole machine and nobody would change them back.
const SYSCTLS: [(&str, &str); 6] = [
    ("overcommit_memory", "1"),
    ("panic_on_oom", "0"),
    ("panic", "10"),
    ("panic_on_oops", "1"),
    ("root_maxkeys", "1000000"),
    ("root_maxbytes", "25000000"),
];

/// Tells the keeper which process this is, by the number that it has outside. Only before the
/// mounts: /proc is still the machine's.
pub(super) fn tell_own_number(paths: &Paths) -> Result<()> {
    let number = fs::read_link("/proc/self").context("read /proc/self")?;
    let (path, next) = (paths.supervisor(), paths.supervisor().with_extension("next"));
    fs::write(&next, number.to_string_lossy().as_bytes())
        .and_then(|()| fs::rename(&next, &path))
        .with_context(|| format!("write {}", path.display()))
}

/// What stands in the templates for what.
pub(super) fn values(paths: &Paths, plan: &Plan) -> Result<Values> {
    Ok(Values::of_cluster(plan, &paths.cgroup(), &needs::cni_folder()?))
}

/// What every part has in its environment. HOME is where kubectl keeps what it looked up.
pub(super) fn environment(built: &Built) -> Vec<(String, String)> {
    let shims = super::inside(built, "containerd");
    let shims = Path::new(&shims).parent().unwrap_or(Path::new("/")).display().to_string();
    let path = format!("{shims}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    vec![("PATH".to_owned(), path), ("HOME".to_owned(), format!("{INSIDE}/home"))]
}

/// Makes everything but the nodes, up to the point where parts can be started.
pub(super) fn machine(paths: &Paths, values: &Values, nodes: &[Node], built: &Built) -> Result<()> {
    let state = paths.state();
    folders(&state, nodes)?;
    for (name, value) in SYSCTLS {
        config::write(&state.join("sysctl").join(name), &format!("{value}\n"))?;
    }
    config::write_all(values, nodes, &state.join("config"), &paths.kubeconfig())?;
    signing_key(&state.join("pki/service-accounts.key"))?;
    for (reference, part) in [(PAUSE, "pause"), (PROBE, "probe")] {
        let bytes = image::of_static_program(reference, &built.program(part))?;
        let path = state.join(format!("{part}.tar"));
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    mounts(values, &state, built.folder())?;
    // So that whoever calls outside is told at once that there is no way, not after a minute.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("let the control plane answer")?;
    network::make_control(values)
}

fn folders(state: &Path, nodes: &[Node]) -> Result<()> {
    let make =
        |path: &Path| fs::create_dir_all(path).with_context(|| format!("make {}", path.display()));
    for name in ["logs", "pki", "etcd", "tmp", "home"] {
        make(&state.join(name))?;
    }
    fs::set_permissions(state.join("tmp"), PermissionsExt::from_mode(0o1777))
        .context("open the cluster's /tmp to all")?;
    for node in nodes {
        for name in ["var-lib", "var-log"] {
            make(&state.join("nodes").join(&node.name).join(name))?;
        }
    }
    Ok(())
}

/// The key by which the apiserver signs the tokens of service accounts.
fn signing_key(path: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]);
    run(openssl.arg(path)).map(drop)
}

fn mounts(values: &Values, state: &Path, parts: &Path) -> Result<()> {
    let values = values.clone().with("state", &in_fstab(state)).with("parts", &in_fstab(parts));
    let table = state.join("config/fstab");
    config::write(&table, &values.fill(templates::CLUSTER_MOUNTS)?)?;
    run(Command::new("mount").args(["--all", "--fstab"]).arg(&table)).map(drop)
}

/// A path as fstab(5) wants it: blanks would end the field.
fn in_fstab(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_blank_is_one_field() {
        assert_eq!(in_fstab(Path::new("/a b\\c")), "/a\\040b\\134c");
    }
}
