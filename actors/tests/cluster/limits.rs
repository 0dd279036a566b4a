//! Limits (R16): bad input and too much of anything cost their sender only.

use std::io;
use std::time::Duration;

use flare_actors::session::Limits;
use tokio::io::AsyncWriteExt;

use crate::rig::{Rig, simulated};

#[test]
fn connections_beyond_the_limit_are_closed_without_a_word() {
    simulated(async {
        let rig = Rig::with_limits(Limits { connections: 2, ..Limits::default() });
        let (mut one, mut two) = (rig.client(), rig.client());
        assert_eq!(one.line("ping").await, "OK\r\n");
        assert_eq!(two.line("ping").await, "OK\r\n");
        assert_eq!(rig.client().rest().await, "");
        two.send("quit\r\n").await;
        assert_eq!(two.rest().await, "");
        assert_eq!(rig.client().line("ping").await, "OK\r\n", "there is room again");
        assert_eq!(one.line("ping").await, "OK\r\n");
    });
}

#[test]
fn one_address_cannot_take_all_connections() {
    simulated(async {
        let limits = Limits { connections_per_peer: 1, ..Limits::default() };
        let rig = Rig::with_limits(limits);
        let mut greedy = rig.client_from("192.0.2.1:1");
        assert_eq!(greedy.line("ping").await, "OK\r\n");
        assert_eq!(rig.client_from("192.0.2.1:2").rest().await, "");
        assert_eq!(rig.client_from("192.0.2.2:1").line("ping").await, "OK\r\n");
        drop(greedy);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rig.client_from("192.0.2.1:3").line("ping").await, "OK\r\n");
    });
}

#[test]
fn a_connection_on_which_nothing_arrives_is_closed() {
    simulated(async {
        let rig = Rig::with_limits(Limits { idle: Duration::from_secs(5), ..Limits::default() });
        let mut client = rig.client();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(client.line("ping").await, "OK\r\n");
        let began = rig.now();
        assert_eq!(client.rest().await, "");
        assert_eq!(rig.now() - began, 5_000, "counted from the last byte");
    });
}

#[test]
fn a_peer_that_does_not_read_is_closed() {
    simulated(async {
        let rig = Rig::start();
        for port in 1001..1011 {
            rig.client().block(&format!("node add 127.0.0.1 {port}")).await;
        }
        let mut client = rig.client();
        let began = rig.now();
        // Far more answers than the pipe takes; nothing is read.
        let requests = "stats nodes\r\n".repeat(500);
        let _ = client.stream.get_mut().write_all(requests.as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(10_500)).await;
        let answers = client.rest().await;
        assert!(answers.len() < 500 * 1_000, "{} bytes", answers.len());
        assert!(rig.now() - began < 11_000);
        assert_eq!(rig.order("ping").await, "OK\r\n");
    });
}

#[test]
fn an_endless_line_closes_the_connection_and_costs_no_memory() {
    simulated(async {
        let rig = Rig::start();
        let mut client = rig.client();
        let chunk = vec![b'x'; 32 * 1024];
        for _ in 0..64 {
            if client.stream.get_mut().write_all(&chunk).await.is_err() {
                break;
            }
        }
        assert_eq!(client.rest().await, "");
        assert_eq!(rig.order("ping").await, "OK\r\n");
    });
}

#[test]
fn accepting_goes_on_after_errors() {
    simulated(async {
        let rig = Rig::start();
        for _ in 0..20 {
            rig.dialer.send(Err(io::Error::from_raw_os_error(24)));
        }
        let began = rig.now();
        assert_eq!(rig.order("ping").await, "OK\r\n");
        let took = rig.now() - began;
        assert!((5_000..30_000).contains(&took), "pauses grow, to a second at most: {took} ms");
    });
}
