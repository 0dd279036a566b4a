//! Which addresses are this host's own, by the kernel's word, where it lets anybody bind any.
//!
//! `net.ipv4.ip_nonlocal_bind` belongs to a network namespace, so the test begins again in one of
//! its own. Needs root; without it nothing is shown, and the test says so.

use std::net::IpAddr;
use std::process::Command;

use flare_actors::net::{Network, SystemNetwork, is_same_host};

/// Tells the test that it runs inside.
const INSIDE: &str = "FLARE_TEST_NONLOCAL_BIND";

const TEST: &str = "another_hosts_address_is_not_ours_though_it_can_be_bound";

/// Two addresses of one network, of which the kernel calls the second after the first, and one of
/// its own, as keepalived gives it; packets to anywhere else are sent nowhere.
const PREPARE: &str = "ip link set lo up \
    && ip addr add 10.9.0.1/24 dev lo && ip addr add 10.9.0.2/24 dev lo \
    && ip addr add 10.9.1.3/32 dev lo \
    && ip route add blackhole default \
    && echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind";

#[test]
fn another_hosts_address_is_not_ours_though_it_can_be_bound() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let can = |script: &str| Command::new("unshare").args(["--net", "sh", "-c", script]).output();
    if !can(PREPARE).is_ok_and(|tried| tried.status.success()) {
        eprintln!("skipped: no network namespace can be made here");
        return;
    }
    let me = std::env::current_exe().expect("this program is somewhere");
    let script = format!("{PREPARE} && exec '{}' --exact {TEST} --nocapture", me.display());
    let ended = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .env(INSIDE, "1")
        .output()
        .expect("it could be made a moment ago");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "inside the namespace: {said}");
}

fn inside() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let other = ip("192.0.2.1");
    std::net::UdpSocket::bind((other, 0)).expect("any address can be bound here");
    for own in ["127.0.0.1", "127.9.9.9", "::1", "10.9.0.1", "10.9.0.2", "10.9.1.3"] {
        assert!(SystemNetwork.is_local(ip(own)), "{own} is ours");
    }
    for foreign in ["192.0.2.1", "10.9.1.4", "0.0.0.0", "::", "224.0.0.1", "2001:db8::1"] {
        assert!(!SystemNetwork.is_local(ip(foreign)), "{foreign} is not ours");
    }
    assert!(!is_same_host(&SystemNetwork, ip("10.9.0.1"), other));
}
