//! A request of which only the beginning had come when the relay was released.

use std::time::{Duration, Instant};

use flare_actors::park::ReleaseRelay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::{address_of, open, within};

/// How soon the rest has to follow; the machine may be busy, but not each time.
const SOON: Duration = Duration::from_millis(100);
const TRIES: usize = 5;

const BEGINNING: &[u8] = b"<a:1>set k 0 0 1\r\n";
const REST: &[u8] = b"x\r\n";

/// How long the rest of a request is under way whose beginning was held.
async fn rest_after() -> Duration {
    let (park, mut node) = open().await;
    let master = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    node.write_all(BEGINNING).await.expect("it stands");
    park.do_send(ReleaseRelay { to: address_of(&master) });
    let (mut passed, _) = within(master.accept()).await.expect("it is passed on");
    let mut bytes = [0; BEGINNING.len()];
    within(passed.read_exact(&mut bytes)).await.expect("it stands");
    assert_eq!(bytes, BEGINNING);
    let sent = Instant::now();
    node.write_all(REST).await.expect("it stands");
    let mut bytes = [0; REST.len()];
    within(passed.read_exact(&mut bytes)).await.expect("it stands");
    assert_eq!(bytes, REST);
    let took = sent.elapsed();
    passed.write_all(b"STORED\r\n").await.expect("it stands");
    let mut answer = [0; 8];
    within(node.read_exact(&mut answer)).await.expect("it stands");
    assert_eq!(&answer, b"STORED\r\n");
    took
}

/// The new master cannot answer half a request: whoever waits for its answer before the rest is
/// passed on waits in vain.
#[tokio::test]
async fn the_rest_of_a_request_does_not_wait_for_an_answer_to_its_beginning() {
    let story = async {
        for _ in 0..TRIES {
            if rest_after().await < SOON {
                return;
            }
        }
        panic!("the rest followed later than {SOON:?} each time");
    };
    LocalSet::new().run_until(story).await;
}
