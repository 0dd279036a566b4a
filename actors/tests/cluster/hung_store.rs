//! A store that never answers is told of: in the log, by readiness, by a metric.

use std::sync::mpsc;
use std::time::Duration;

use flare_actors::logs::{self, LogFormat};
use flare_actors::overview::{GetOverview, Overview};
use flare_actors::topology::STORE_PATIENCE;
use tokio::time::sleep;

use crate::rig::{Rig, StoreMode, eventually, simulated};

/// A writer that hands each log line to the test.
#[derive(Clone)]
struct Lines(mpsc::Sender<String>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(line).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a test that can read the log.
fn logged<Test: Future<Output = ()>>(test: impl FnOnce(mpsc::Receiver<String>) -> Test) {
    let (sender, lines) = mpsc::channel();
    let sender = Lines(sender);
    let (subscriber, _control) =
        logs::subscriber(LogFormat::Text, "warn", false, move || sender.clone())
            .expect("the filter is good");
    let _guard = tracing::subscriber::set_default(subscriber);
    simulated(test(lines));
}

async fn overview(rig: &Rig) -> Overview {
    rig.cluster.topology.send(GetOverview).await.expect("the topology answers")
}

#[test]
fn a_store_that_hangs_is_told_of_and_so_is_its_end() {
    logged(async |lines| {
        let rig = Rig::start();
        *rig.store.borrow_mut() = StoreMode::Holds;
        let mut client = rig.client();
        client.send("node add 127.0.0.1 1001\r\n").await;
        sleep(STORE_PATIENCE - Duration::from_millis(100)).await;
        assert_eq!(overview(&rig).await.troubles, [""; 0], "a slow write is no trouble yet");
        sleep(Duration::from_millis(200)).await;
        let hangs = overview(&rig).await;
        assert_eq!(hangs.store_waits.as_secs(), STORE_PATIENCE.as_secs());
        let [trouble] = &hangs.troubles[..] else { panic!("{:?}", hangs.troubles) };
        assert!(trouble.contains("a write has not ended for 5 s"), "{trouble}");
        let said: Vec<String> = lines.try_iter().collect();
        let [line] = &said[..] else { panic!("it is said once: {said:?}") };
        assert!(line.contains("ERROR") && line.contains("the store hangs"), "{line}");

        rig.release_store();
        assert!(client.read_line().await.starts_with("NODE 127.0.0.1 1001"));
        let over = overview(&rig).await;
        assert_eq!((over.troubles, over.store_waits), (Vec::new(), Duration::ZERO));
        let said: Vec<String> = lines.try_iter().collect();
        assert!(said.iter().any(|line| line.contains("the store answers again")), "{said:?}");
    });
}

#[test]
fn a_store_that_answers_in_time_is_not_told_of() {
    logged(async |lines| {
        let rig = Rig::start();
        *rig.store.borrow_mut() = StoreMode::Holds;
        rig.client().send("node add 127.0.0.1 1001\r\n").await;
        sleep(STORE_PATIENCE - Duration::from_millis(100)).await;
        rig.release_store();
        eventually("the map", || rig.version() > 0).await;
        sleep(2 * STORE_PATIENCE).await;
        assert_eq!(overview(&rig).await.troubles, [""; 0]);
        let said: Vec<String> = lines.try_iter().collect();
        assert!(!said.iter().any(|line| line.contains("the store")), "{said:?}");
    });
}
