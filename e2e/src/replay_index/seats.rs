//! The nodes of a replay: which of them live, what each was told by the index, and whether that
//! is what the transcript says.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::difference::{Kind, allowed};
use super::fake_node::{FakeNode, Heard, What};
use super::places::Places;
use super::script::NodePort;

/// How long the index may take to do what a transcript shows it do. Detection of a dead node
/// takes 4.5 s at the recorded settings.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing more may come at the end of a transcript.
const CALM: Duration = Duration::from_millis(400);

/// One node.
#[derive(Debug, Default)]
struct Seat {
    fake: Option<FakeNode>,
    frozen: bool,
    /// What it was told and what no expectation has claimed yet.
    told: VecDeque<Vec<u8>>,
    pings: u64,
    pings_claimed: u64,
    /// The last push that was claimed.
    last: Option<Vec<u8>>,
    /// Version of the map that first named it: whether a new node gets that first push is a race
    /// in flarei (flare-protocol.md 3.2), so it may come or not.
    born: Option<u64>,
    /// What it must still be told, in order.
    due: VecDeque<Due>,
}

#[derive(Debug)]
struct Due {
    line: usize,
    what: DueWhat,
}

#[derive(Debug)]
enum DueWhat {
    Ping,
    Push(Vec<u8>),
}

/// All nodes.
#[derive(Debug)]
pub(super) struct Seats {
    places: Places,
    transcript: &'static str,
    /// Whether the index may differ where docs/differences-from-flarei.md says so.
    lenient: bool,
    seats: BTreeMap<NodePort, Seat>,
    send: mpsc::UnboundedSender<Heard>,
    heard: mpsc::UnboundedReceiver<Heard>,
    history: Vec<Heard>,
}

impl Seats {
    pub(super) fn new(places: Places, transcript: &'static str, lenient: bool) -> Self {
        let (send, heard) = mpsc::unbounded_channel();
        let (seats, history) = (BTreeMap::new(), Vec::new());
        Self { places, transcript, lenient, seats, send, heard, history }
    }

    /// Whether the index under test may differ in this.
    pub(super) fn allows(&self, kind: Kind) -> bool {
        self.lenient && allowed(kind, self.transcript)
    }

    fn seat(&mut self, node: NodePort) -> &mut Seat {
        self.seats.entry(node).or_default()
    }

    /// The node's process starts; it answers once [`Seats::serve`] is called.
    pub(super) async fn start(&mut self, node: NodePort) -> Result<()> {
        // first the old sockets: a port is taken as long as they are there
        self.seat(node).fake = None;
        let (addr, heard) = (self.places.addr(node), self.send.clone());
        let end = Instant::now() + PATIENCE;
        let fake = loop {
            match FakeNode::start(node, addr, heard.clone()).await {
                Ok(fake) => break fake,
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let seat = self.seat(node);
        seat.fake = Some(fake);
        Ok(())
    }

    /// Whether the node's process runs and listens.
    pub(super) fn runs(&self, node: NodePort) -> bool {
        self.seats.get(&node).is_some_and(|seat| seat.fake.is_some())
    }

    /// The index took it: it answers from now on.
    pub(super) fn serve(&mut self, node: NodePort) {
        let seat = self.seat(node);
        if let Some(fake) = seat.fake.as_ref().filter(|_| !seat.frozen) {
            fake.serve();
        }
    }

    pub(super) fn kill(&mut self, node: NodePort) {
        self.seat(node).fake = None;
    }

    pub(super) fn leave(&mut self, node: NodePort) {
        if let Some(fake) = &self.seat(node).fake {
            fake.leave();
        }
    }

    pub(super) fn freeze(&mut self, node: NodePort) {
        let seat = self.seat(node);
        seat.frozen = true;
        if let Some(fake) = &seat.fake {
            fake.freeze();
        }
    }

    pub(super) fn thaw(&mut self) {
        for seat in self.seats.values_mut().filter(|seat| seat.frozen) {
            seat.frozen = false;
            if let Some(fake) = &seat.fake {
                fake.serve();
            }
        }
    }

    /// The map of this version is the first that names the node.
    pub(super) fn born(&mut self, node: NodePort, version: u64) {
        self.seat(node).born = Some(version);
    }

    /// From here on counts what nodes are told: the transcript begins.
    pub(super) fn begin(&mut self) {
        self.drain();
        self.history.clear();
        for seat in self.seats.values_mut() {
            seat.last = seat.told.pop_back().or(seat.last.take());
            seat.told.clear();
            seat.pings_claimed = seat.pings;
            seat.born = None;
        }
    }

    /// The version that the node was told last; 0 if none.
    pub(super) fn last_told(&mut self, node: NodePort) -> u64 {
        self.drain();
        self.seat(node).told.back().map_or(0, |push| version(push))
    }

    /// Whether a ping is the last thing that the node heard.
    pub(super) fn idle(&mut self, node: NodePort) -> bool {
        self.drain();
        let mut heard = self.history.iter().rev().filter(|heard| heard.node == node);
        heard.next().is_some_and(|heard| heard.what == What::Ping)
    }

    pub(super) fn expect_ping(&mut self, line: usize, node: NodePort) {
        self.seat(node).due.push_back(Due { line, what: DueWhat::Ping });
    }

    /// The node must be told this, unless it is the first map of a new node.
    pub(super) fn expect_push(&mut self, line: usize, node: NodePort, push: Vec<u8>) {
        let seat = self.seat(node);
        if seat.born != Some(version(&push)) {
            seat.due.push_back(Due { line, what: DueWhat::Push(push) });
        }
    }

    /// Waits until every node that is not frozen was told what was expected so far.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.drain();
            self.claim()?;
            let Some((node, due)) = self.overdue() else { return Ok(()) };
            let what = format!("line {}: {node} was not {}", due.line, due.what.said());
            match timeout_at(end, self.heard.recv()).await {
                Ok(Some(heard)) => self.hear(heard),
                Ok(None) => bail!("no nodes are left"),
                Err(_) => bail!("{what} within {PATIENCE:?}; {}", self.told_so_far(node)),
            }
        }
    }

    /// Waits a moment; fails if any node is told what the transcript does not have.
    pub(super) async fn calm(&mut self) -> Result<()> {
        let end = Instant::now() + CALM;
        while let Ok(Some(heard)) = timeout_at(end, self.heard.recv()).await {
            self.hear(heard);
        }
        self.claim()?;
        let (repeats, higher) = (self.allows(Kind::Repeats), self.allows(Kind::HigherVersions));
        for (node, seat) in &mut self.seats {
            while let Some(push) = seat.told.front() {
                let harmless = repeats && seat.last.as_ref() == Some(push);
                let first = seat.born == Some(version(push));
                ensure!(harmless || first || higher, "{node} was told more: {}", text(push));
                seat.told.pop_front();
            }
        }
        Ok(())
    }

    /// The node took this version in before any other node was told it.
    pub(super) fn check_prior(&self, wanted: u64, prior: NodePort) -> Result<()> {
        let answered = self
            .history
            .iter()
            .position(|h| h.node == prior && h.what == What::Answered(wanted))
            .ok_or_else(|| anyhow!("{prior} never answered version {wanted}"))?;
        let told = self.history.iter().position(|h| {
            h.node != prior && matches!(&h.what, What::Push(p) if version(p) == wanted)
        });
        let told = told.ok_or_else(|| anyhow!("only {prior} was told version {wanted}"))?;
        ensure!(answered < told, "another node was told version {wanted} before {prior} took it");
        Ok(())
    }

    fn overdue(&self) -> Option<(NodePort, &Due)> {
        let seats = self.seats.iter().filter(|(_, seat)| !seat.frozen);
        seats.into_iter().find_map(|(node, seat)| Some((*node, seat.due.front()?)))
    }

    fn drain(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            self.hear(heard);
        }
    }

    fn hear(&mut self, heard: Heard) {
        let seat = self.seats.entry(heard.node).or_default();
        match &heard.what {
            What::Ping => seat.pings += 1,
            What::Push(push) => seat.told.push_back(push.clone()),
            What::Answered(_) | What::Other(_) => {}
        }
        self.history.push(heard);
    }

    /// Pairs what was expected with what came.
    fn claim(&mut self) -> Result<()> {
        let repeats = self.allows(Kind::Repeats);
        let questions = self.allows(Kind::Questions);
        if let Some(heard) = self.history.iter().find(|h| matches!(h.what, What::Other(_))) {
            ensure!(questions, "{} was asked {:?}", heard.node, heard.what);
        }
        let higher = self.allows(Kind::HigherVersions);
        let lenience = Lenience { repeats, higher };
        for (node, seat) in &mut self.seats {
            seat.claim(lenience, self.places).with_context(|| format!("node {node}"))?;
        }
        Ok(())
    }

    fn told_so_far(&self, node: NodePort) -> String {
        match self.seats.get(&node).and_then(|seat| seat.last.as_ref()) {
            Some(push) => format!("it was last told {}", text(push)),
            None => "it was told nothing".to_owned(),
        }
    }
}

/// What is tolerated of the index under test.
#[derive(Debug, Clone, Copy)]
struct Lenience {
    /// A map that the node has may come again, or not.
    repeats: bool,
    /// The same maps may come under higher versions, and sooner.
    higher: bool,
}

impl Seat {
    fn claim(&mut self, lenience: Lenience, places: Places) -> Result<()> {
        let Lenience { repeats, higher } = lenience;
        while let Some(due) = self.due.front() {
            let claimed = match &due.what {
                DueWhat::Ping => {
                    let pinged = self.pings > self.pings_claimed;
                    self.pings_claimed = self.pings;
                    pinged
                }
                DueWhat::Push(recorded) => {
                    let expected = places.translate(recorded);
                    match self.told.front() {
                        None => repeats && self.last.as_ref() == Some(&expected),
                        Some(told) if *told == expected => {
                            self.last = self.told.pop_front();
                            true
                        }
                        Some(told) if higher && same_map_later(&expected, told) => {
                            self.last = self.told.pop_front();
                            true
                        }
                        Some(_) if higher => {
                            self.last = self.told.pop_front();
                            continue;
                        }
                        Some(told) if repeats && self.last.as_ref() == Some(told) => {
                            self.told.pop_front();
                            continue;
                        }
                        Some(told) if self.born == Some(version(told)) => {
                            self.last = self.told.pop_front();
                            continue;
                        }
                        Some(_) if repeats && self.last.as_ref() == Some(&expected) => true,
                        Some(told) => {
                            let line = due.line;
                            bail!("line {line}: told {}instead of {}", text(told), text(&expected))
                        }
                    }
                }
            };
            if !claimed {
                return Ok(());
            }
            self.due.pop_front();
        }
        Ok(())
    }
}

impl DueWhat {
    fn said(&self) -> String {
        match self {
            DueWhat::Ping => "pinged".to_owned(),
            DueWhat::Push(push) => format!("told {}", text(push)),
        }
    }
}

/// Whether a push is the recorded map with the recorded version or a higher one.
fn same_map_later(recorded: &[u8], told: &[u8]) -> bool {
    let map = |push: &[u8]| text(push).split_once('\n').map(|(_, map)| map.to_owned());
    version(told) >= version(recorded) && map(told) == map(recorded)
}

/// The version in a `node sync`; none counts as 0.
fn version(push: &[u8]) -> u64 {
    let line = text(push);
    let line = line.lines().next().unwrap_or_default();
    line.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn text(push: &[u8]) -> String {
    String::from_utf8_lossy(push).replace('\r', "")
}
