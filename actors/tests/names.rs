//! Lookups: one for each name, one for each peer, and a number of them in all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr};
use flare_actors::names::{Asker, COMMANDS_MAX, Found, LINKS_MAX, LookUp, NamesActor};
use flare_actors::net::{NetFuture, Network, Stream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// A network whose name server answers when it is told to.
#[derive(Default)]
struct Slow {
    asked: RefCell<BTreeMap<String, oneshot::Sender<IpAddr>>>,
}

impl Slow {
    /// The names of the lookups under way.
    fn asked(&self) -> Vec<String> {
        self.asked.borrow().keys().cloned().collect()
    }

    fn answer(&self, name: &str) {
        let asked = self.asked.borrow_mut().remove(name).expect("it was asked");
        asked.send(IpAddr::from([10, 0, 0, 1])).expect("a lookup goes on to its end");
    }
}

impl Network for Slow {
    fn connect(&self, _: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        unreachable!("names are looked up here")
    }

    fn connect_to_order(&self, _: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        unreachable!("names are looked up here")
    }

    fn resolve(&self, name: &str) -> NetFuture<Vec<IpAddr>> {
        let (answer, asked) = oneshot::channel();
        let before = self.asked.borrow_mut().insert(name.to_owned(), answer);
        assert!(before.is_none(), "{name} is looked up already");
        Box::pin(async { Ok(vec![asked.await.map_err(io::Error::other)?]) })
    }

    fn address_towards(&self, _: IpAddr) -> io::Result<IpAddr> {
        unreachable!("names are looked up here")
    }

    fn is_local(&self, _: IpAddr) -> bool {
        false
    }
}

struct Story {
    network: Rc<Slow>,
    names: Addr<NamesActor>,
}

impl Story {
    fn begin() -> Self {
        let network = Rc::new(Slow::default());
        let names = NamesActor::new(Rc::clone(&network) as Rc<_>, None).start();
        Self { network, names }
    }

    fn ask(&self, name: &str, asker: Asker) -> oneshot::Receiver<Found> {
        let (answer, found) = oneshot::channel();
        self.names.do_send(LookUp { name: name.to_owned(), asker, answer });
        found
    }

    /// The names of the lookups under way, once all questions have been taken in.
    async fn asked(&self) -> Vec<String> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.network.asked()
    }
}

fn peer(number: u8) -> Asker {
    Asker::Peer(IpAddr::from([192, 0, 2, number]))
}

fn simulated(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_name_is_looked_up_once_for_all_who_want_it() {
    simulated(async {
        let story = Story::begin();
        let all = [peer(1), peer(2), Asker::Index].map(|asker| story.ask("one", asker));
        assert_eq!(story.asked().await, ["one"]);
        story.network.answer("one");
        for asked in all {
            let found = asked.await.expect("an answer").expect("an address");
            assert_eq!(found, [IpAddr::from([10, 0, 0, 1])]);
        }
    });
}

#[test]
fn a_peer_has_one_lookup_at_a_time_and_all_peers_a_few() {
    simulated(async {
        let story = Story::begin();
        let _greedy: Vec<_> =
            (0..100).map(|number| story.ask(&format!("a{number}"), peer(1))).collect();
        assert_eq!(story.asked().await, ["a0"]);
        let mut others: Vec<_> =
            (2..100).map(|it| story.ask(&format!("b{it}"), peer(it))).collect();
        assert_eq!(story.asked().await.len(), COMMANDS_MAX);
        let mut links: Vec<_> =
            (0..100).map(|it| story.ask(&format!("c{it}"), Asker::Index)).collect();
        assert_eq!(story.asked().await.len(), COMMANDS_MAX + LINKS_MAX);
        story.network.answer("c0");
        assert_eq!(story.asked().await.len(), COMMANDS_MAX + LINKS_MAX, "the next has begun");
        assert!(links[0].try_recv().is_ok());
        assert!(others.iter_mut().all(|other| other.try_recv().is_err()));
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_looked_up() {
    simulated(async {
        let story = Story::begin();
        let first = story.ask("first", peer(1));
        assert_eq!(story.asked().await, ["first"]);
        for number in 0..100 {
            let asked = story.ask(&format!("a{number}"), peer(1));
            timeout(Duration::from_millis(10), asked).await.expect_err("nobody answers");
        }
        let last = story.ask("last", peer(1));
        assert_eq!(story.asked().await, ["first"]);
        story.network.answer("first");
        assert_eq!(story.asked().await, ["last"]);
        story.network.answer("last");
        for asked in [first, last] {
            asked.await.expect("an answer").expect("an address");
        }
    });
}
