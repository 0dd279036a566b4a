//! A node as an index sees it: answers what it is asked, or does not.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use flare_actors::net::Stream;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::network::Pipes;

/// How a node behaves; may be changed at any time.
pub(crate) struct Behaviour {
    /// Answers nothing, though it reads.
    pub(crate) mute: bool,
    /// Takes this long to answer a map.
    pub(crate) sync_delay: Duration,
    /// Answers this to a map instead of `OK`, once for each.
    pub(crate) sync_refusals: Vec<&'static str>,
    /// Takes this long to answer a ping.
    pub(crate) ping_delay: Duration,
    /// Its `pid`: another process has another one.
    pub(crate) pid: u32,
    /// Its `node_map_version`.
    pub(crate) version: u64,
    /// Its connections to other nodes on which somebody waits.
    pub(crate) waiting: Vec<Waiting>,
    /// The thread types of the nodes that it is only making connections to.
    pub(crate) connecting: Vec<u32>,
    /// How often it still shows its only client when that was ended.
    pub(crate) client_lasts: u32,
    /// Was its client ended?
    pub(crate) client_ended: bool,
}

/// A connection to another node on which a request is under way and another waits behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// What `kill` takes.
    pub(crate) thread: u32,
    /// The thread type of the node that it leads to.
    pub(crate) towards: u32,
    /// How long the other waits, in seconds.
    pub(crate) behind: u64,
    /// How often the request is still tried; each `kill` ends one try.
    pub(crate) tries: u32,
}

/// What a node was asked, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Milliseconds of paused time.
    pub(crate) at: u64,
    /// The first line of the request.
    pub(crate) line: String,
}

/// A node that listens on a port of [`Pipes`].
#[derive(Clone)]
pub(crate) struct FakeNode {
    /// Its port; its name is 127.0.0.1.
    pub(crate) port: u16,
    pipes: Rc<Pipes>,
    behaviour: Rc<RefCell<Behaviour>>,
    asked: Rc<RefCell<Vec<Asked>>>,
    life: Rc<RefCell<watch::Sender<()>>>,
    zero: Instant,
}

impl FakeNode {
    /// Starts a node; `zero` is when the test began.
    pub(crate) fn start(pipes: &Rc<Pipes>, port: u16, zero: Instant) -> Self {
        let node = Self {
            port,
            pipes: Rc::clone(pipes),
            behaviour: Rc::new(RefCell::new(Behaviour {
                mute: false,
                sync_delay: Duration::ZERO,
                sync_refusals: Vec::new(),
                ping_delay: Duration::ZERO,
                pid: 1,
                version: 0,
                waiting: Vec::new(),
                connecting: Vec::new(),
                client_lasts: 0,
                client_ended: false,
            })),
            asked: Rc::default(),
            life: Rc::new(RefCell::new(watch::Sender::new(()))),
            zero,
        };
        node.listen();
        node
    }

    /// Its behaviour, to be changed.
    pub(crate) fn behave(&self) -> RefMut<'_, Behaviour> {
        self.behaviour.borrow_mut()
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Ref<'_, Vec<Asked>> {
        self.asked.borrow()
    }

    /// The versions of the maps that it was sent, with when.
    pub(crate) fn maps(&self) -> Vec<(u64, u64)> {
        let asked = self.asked.borrow();
        let maps = asked.iter().filter_map(|asked| {
            Some((asked.line.strip_prefix("node sync ")?.parse().expect("a version"), asked.at))
        });
        maps.collect()
    }

    /// The process dies: its connections end and its port refuses.
    pub(crate) fn die(&self) {
        self.pipes.close(self.port);
        self.hang_up();
    }

    /// Ends its connections and goes on.
    pub(crate) fn hang_up(&self) {
        self.life.replace(watch::Sender::new(()));
    }

    /// The network to it fails: nothing comes or goes, and nobody is told. What is connecting when
    /// it is whole again stays without an answer, like a first packet that was lost.
    pub(crate) fn cut_off(&self) {
        self.pipes.hang(self.port);
        self.behave().mute = true;
    }

    /// The network to it is whole again.
    pub(crate) fn heal(&self) {
        self.behave().mute = false;
        self.listen();
    }

    /// Another process begins under the same name.
    pub(crate) fn start_again(&self) {
        {
            let mut behaviour = self.behave();
            behaviour.pid += 1;
            behaviour.version = 0;
        }
        self.listen();
    }

    fn listen(&self) {
        let mut accept = self.pipes.listen(self.port);
        let node = self.clone();
        spawn_local(async move {
            while let Some(stream) = accept.recv().await {
                let mut life = node.life.borrow().subscribe();
                let node = node.clone();
                spawn_local(async move {
                    tokio::select! {
                        _ = life.changed() => {}
                        () = node.serve(stream) => {}
                    }
                });
            }
        });
    }

    async fn serve(&self, stream: Box<dyn Stream>) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let at = u64::try_from(self.zero.elapsed().as_millis()).expect("a short test");
            self.asked.borrow_mut().push(Asked { at, line: line.clone() });
            if let Some(version) = line.strip_prefix("node sync ") {
                while lines.next_line().await.expect("a whole map").as_deref() != Some("END") {}
                let delay = self.behave().sync_delay;
                sleep(delay).await;
                self.take_map(version.parse().expect("a version"), &mut write).await;
                continue;
            }
            let (mute, delay) = {
                let behaviour = self.behave();
                (behaviour.mute, behaviour.ping_delay)
            };
            if mute {
                continue;
            }
            if line == "ping" {
                sleep(delay).await;
            }
            if line.contains(">set ") || line.starts_with("set ") {
                lines.next_line().await.expect("a data block");
            }
            let answer = self.answer(&line);
            if write.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn take_map(&self, version: u64, write: &mut (impl AsyncWriteExt + Unpin)) {
        if self.behave().mute {
            return;
        }
        let refusal = self.behave().sync_refusals.pop();
        if refusal.is_none() {
            self.behave().version = version;
        }
        let answer = format!("{}\r\n", refusal.unwrap_or("OK"));
        // The other side may have given up.
        let _ = write.write_all(answer.as_bytes()).await;
    }

    fn answer(&self, line: &str) -> String {
        let mut behaviour = self.behave();
        match line {
            "ping" | "flush_all" => "OK\r\n".into(),
            "stats threads" => {
                let waiting = behaviour
                    .waiting
                    .iter()
                    .map(|it| row(it.thread, it.towards, it.behind, "execute"));
                let connecting = (70..).zip(&behaviour.connecting);
                let connecting = connecting.map(|(id, towards)| row(id, *towards, 0, "setup"));
                // The thread that answers, first.
                row(12, 1, 0, "execute")
                    + &waiting.chain(connecting).collect::<String>()
                    + "END\r\n"
            }
            "stats threads request" if behaviour.client_ended && behaviour.client_lasts == 0 => {
                "END\r\n".into()
            }
            "stats threads request" => {
                behaviour.client_lasts -= u32::from(behaviour.client_ended);
                "STAT 12:type 1\r\nSTAT 12:peer 10.0.0.9:59534\r\nEND\r\n".into()
            }
            "kill 12" => {
                behaviour.client_ended = true;
                "OK\r\n".into()
            }
            kill if kill.starts_with("kill ") => {
                let ended = |it: &&mut Waiting| kill == format!("kill {}", it.thread);
                behaviour.waiting.iter_mut().filter(ended).for_each(|it| it.tries -= 1);
                behaviour.waiting.retain(|it| it.tries > 0);
                "OK\r\n".into()
            }
            set if set.contains("set flare-operator.") => "STORED\r\n".into(),
            get if get.starts_with("get flare-operator.") => "END\r\n".into(),
            delete if delete.contains("delete flare-operator.") => "DELETED\r\n".into(),
            "stats" => format!(
                "STAT pid {}\r\nSTAT uptime 10\r\nSTAT time 1010\r\nSTAT curr_items 0\r\n\
                 STAT node_map_version {}\r\nEND\r\n",
                behaviour.pid, behaviour.version
            ),
            other => panic!("an index does not ask `{other}`"),
        }
    }
}

/// What `stats threads` shows of one.
fn row(thread: u32, kind: u32, behind: u64, state: &str) -> String {
    let queue = behind.min(1);
    format!(
        "STAT {thread}:type {kind}\r\nSTAT {thread}:peer node:12121\r\nSTAT {thread}:op set\r\n\
         STAT {thread}:uptime 9\r\nSTAT {thread}:state {state}\r\nSTAT {thread}:info \r\n\
         STAT {thread}:queue {queue}\r\nSTAT {thread}:behind {behind}\r\n"
    )
}
