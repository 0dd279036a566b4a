//! Links: detection, return, and answers that are never mistaken for others'.

use std::time::Duration;

use crate::rig::{Rig, eventually, simulated};

#[test]
fn a_dead_process_is_down_in_a_fifth_of_a_second() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        eventually("a ping", || node.asked().iter().any(|asked| asked.line == "ping")).await;
        let died = rig.now();
        node.die();
        eventually("its death", || rig.entry(1001) == "proxy down").await;
        assert!(rig.now() - died <= 210, "{} ms", rig.now() - died);
    });
}

#[test]
fn a_hung_process_is_down_after_threshold_times_interval() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        eventually("a ping", || node.asked().iter().any(|asked| asked.line == "ping")).await;
        let pings = node.asked().iter().filter(|asked| asked.line == "ping").count();
        node.behave().mute = true;
        let later = || node.asked().iter().filter(|asked| asked.line == "ping").count() > pings;
        eventually("a ping that is not answered", later).await;
        let began = rig.now();
        eventually("its death", || rig.entry(1001) == "proxy down").await;
        assert!((2_900..=3_100).contains(&(rig.now() - began)), "{} ms", rig.now() - began);
    });
}

#[test]
fn an_unreachable_address_is_as_silent_as_a_hung_process() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        let began = rig.now();
        rig.pipes.hang(1001);
        node.hang_up();
        eventually("its death", || rig.entry(1001) == "proxy down").await;
        assert!((2_500..=4_200).contains(&(rig.now() - began)), "{} ms", rig.now() - began);
    });
}

#[test]
fn nothing_of_a_connection_comes_after_it_was_given_up() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        assert_eq!(rig.pipes.for_orders(), 1, "an old `flush_all` must not reach a copy");
        node.hang_up();
        eventually("another connection", || rig.pipes.for_orders() == 2).await;
    });
}

#[test]
fn a_connection_that_ends_is_opened_again_at_once_and_is_no_death() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        let version = rig.version();
        for _ in 0..5 {
            let pings = |node: &crate::node::FakeNode| {
                node.asked().iter().filter(|asked| asked.line == "ping").count()
            };
            let before = pings(&node);
            let ended = rig.now();
            node.hang_up();
            eventually("a ping on the next connection", || pings(&node) > before).await;
            assert!(rig.now() - ended <= 5, "{} ms", rig.now() - ended);
        }
        assert_eq!(rig.version(), version, "nothing has changed");
    });
}

#[test]
fn a_name_server_that_is_away_does_not_look_like_dead_nodes() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        let version = rig.version();
        rig.pipes.hang_names();
        let observed = |node: &crate::node::FakeNode| {
            node.asked().iter().filter(|asked| asked.line == "stats").count()
        };
        let before = observed(&node);
        node.hang_up();
        eventually("the next connection", || observed(&node) > before).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(rig.version(), version, "nothing has changed");
    });
}

#[test]
fn a_late_answer_is_never_taken_for_another() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        // The answer to a ping comes after the deadline, when a map has been pushed: if it were
        // taken for the map's, the map would count as acknowledged.
        node.behave().ping_delay = Duration::from_millis(1_500);
        node.behave().sync_delay = Duration::from_millis(700);
        let pinged = |node: &crate::node::FakeNode| {
            node.asked().iter().filter(|asked| asked.line == "ping").count()
        };
        let before = pinged(&node);
        eventually("a ping", || pinged(&node) > before).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(rig.order("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        let version = rig.version();
        let acknowledged = || {
            let links = rig.cluster.topology.send(flare_actors::topology::GetLinks);
            async { links.await.expect("the topology answers")[0].queue == 0 }
        };
        while !acknowledged().await {
            assert!(rig.now() < 60_000, "never acknowledged");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(node.behave().version, version, "acknowledged only what it has taken");
    });
}

#[test]
fn a_node_that_comes_back_is_given_back_when_it_is_known() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        node.die();
        eventually("its death", || rig.entry(1001) == "proxy down").await;
        node.start_again();
        let answer = rig.client().block("node add 127.0.0.1 1001").await;
        assert!(answer.ends_with("END\r\n"), "{answer}");
        let began = rig.now();
        eventually("its return", || rig.entry(1001) == "proxy active").await;
        assert!(rig.now() - began <= 1_100, "{} ms", rig.now() - began);
        eventually("the map", || node.behave().version == rig.version()).await;
    });
}

#[test]
fn a_node_that_hung_is_told_that_it_is_down_before_it_is_asked_anything() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        node.behave().mute = true;
        eventually("its death", || rig.entry(1001) == "proxy down").await;
        let before = node.asked().len();
        eventually("another connection", || node.asked().len() > before + 1).await;
        let version = rig.version();
        let asked: Vec<String> =
            node.asked().iter().skip(before).take(2).map(|asked| asked.line.clone()).collect();
        assert_eq!(asked, [format!("node sync {version}"), "stats".to_owned()]);
        node.behave().mute = false;
        eventually("its return", || rig.entry(1001) == "proxy active").await;
        eventually("the map", || node.behave().version == rig.version()).await;
    });
}

#[test]
fn a_cut_off_node_is_told_within_a_second_of_its_healing() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        // Whenever the network is whole again, seen from the attempts to connect.
        for later_millis in (0..2_000).step_by(130) {
            node.cut_off();
            eventually("its death", || rig.entry(1001) == "proxy down").await;
            tokio::time::sleep(Duration::from_millis(later_millis)).await;
            let (healed, version) = (rig.now(), rig.version());
            node.heal();
            eventually("the map", || node.behave().version >= version).await;
            let told = rig.now() - healed;
            assert!(told <= 1_005, "{later_millis} ms later: told after {told} ms");
            eventually("its return", || rig.entry(1001) == "proxy active").await;
        }
    });
}

#[test]
fn a_killed_link_is_made_again() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        let observed = |node: &crate::node::FakeNode| {
            node.asked().iter().filter(|asked| asked.line == "stats").count()
        };
        let before = observed(&node);
        let threads = rig.client().block("stats threads").await;
        let link = threads
            .lines()
            .find_map(|line| line.strip_prefix("STAT ")?.strip_suffix(":type 16"))
            .expect("a monitor is listed");
        assert_eq!(rig.order(&format!("kill {link}")).await, "OK\r\n");
        eventually("another connection", || observed(&node) > before).await;
        assert_eq!(rig.entry(1001), "proxy active");
    });
}
