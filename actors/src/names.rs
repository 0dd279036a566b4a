//! Looking names up: each at most once at a time, and never more at a time than there are threads
//! for it.
//!
//! A lookup occupies a thread until the name server answers or the system gives up, often 10 s
//! later, however early its asker went away. So nobody starts one but [`NamesActor`], which has a
//! number of them for the index's own links and another for those who name nodes in commands; a
//! peer has one at a time. What is asked for beyond that waits, and is forgotten with its asker.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use tokio::sync::oneshot;

use crate::net::{NetFuture, Network, Stream};
use crate::obituary::Obituary;

/// Lookups of the index's links at a time; the others wait, and connect where they last did.
pub const LINKS_MAX: usize = 4;

/// Lookups for commands at a time, from as many peers.
pub const COMMANDS_MAX: usize = 4;

/// All lookups at a time: so many threads are needed for them.
pub const LOOKUPS_MAX: usize = LINKS_MAX + COMMANDS_MAX;

/// Questions that may wait; one more is refused at once.
pub const WAITING_MAX: usize = 1024;

/// The addresses of a name, or why they are not known.
pub type Found = Result<Vec<IpAddr>, Arc<io::Error>>;

/// Who wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asker {
    /// The index itself, about a node of its map.
    Index,
    /// It, to find out whether this peer is the node that it speaks for.
    Peer(IpAddr),
}

/// Asks for the addresses of a name.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookUp {
    /// The name.
    pub name: String,
    /// Who wants to know.
    pub asker: Asker,
    /// Where the answer is expected; once that is gone nobody is.
    pub answer: oneshot::Sender<Found>,
}

/// Owns the lookups that are under way.
pub struct NamesActor {
    network: Rc<dyn Network>,
    running: BTreeMap<String, Running>,
    waiting: VecDeque<LookUp>,
    _obituary: Option<Obituary>,
}

/// A lookup under way.
struct Running {
    /// Who asked first; it counts as theirs.
    asker: Asker,
    answers: Vec<oneshot::Sender<Found>>,
}

impl NamesActor {
    /// An actor that looks names up in this network.
    pub fn new(network: Rc<dyn Network>, obituary: Option<Obituary>) -> Self {
        Self { network, running: BTreeMap::new(), waiting: VecDeque::new(), _obituary: obituary }
    }

    /// May one more be looked up for this one?
    fn has_room_for(&self, asker: Asker) -> bool {
        let running = || self.running.values().map(|running| running.asker);
        match asker {
            Asker::Index => running().filter(|other| *other == asker).count() < LINKS_MAX,
            Asker::Peer(_) => {
                let others = running().filter(|other| *other != Asker::Index).count();
                others < COMMANDS_MAX && running().all(|other| other != asker)
            }
        }
    }

    /// Begins what may begin, in the order in which it was asked for.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.waiting.retain(|question| !question.answer.is_closed());
        for question in std::mem::take(&mut self.waiting) {
            if let Some(running) = self.running.get_mut(&question.name) {
                running.answers.retain(|answer| !answer.is_closed());
                running.answers.push(question.answer);
            } else if self.has_room_for(question.asker) {
                self.look_up(question, ctx);
            } else {
                self.waiting.push_back(question);
            }
        }
    }

    fn look_up(&mut self, question: LookUp, ctx: &mut Context<Self>) {
        let LookUp { name, asker, answer } = question;
        let found = self.network.resolve(&name);
        self.running.insert(name.clone(), Running { asker, answers: vec![answer] });
        ctx.spawn(found.into_actor(self).map(move |found, names, ctx| {
            let found = found.map_err(Arc::new);
            for answer in names.running.remove(&name).into_iter().flat_map(|it| it.answers) {
                // One that is gone has given up.
                let _ = answer.send(found.clone());
            }
            names.begin(ctx);
        }));
    }
}

impl Actor for NamesActor {
    type Context = Context<Self>;
}

impl Handler<LookUp> for NamesActor {
    type Result = ();

    fn handle(&mut self, question: LookUp, ctx: &mut Context<Self>) {
        self.waiting.push_back(question);
        self.begin(ctx);
        // The last one is the least likely to be answered in time.
        self.waiting.truncate(WAITING_MAX);
    }
}

/// Asks for the addresses of `name`, which may be an address itself.
///
/// # Errors
/// None is known, or the name server cannot be asked.
pub(crate) async fn look_up(
    names: &Recipient<LookUp>,
    name: String,
    asker: Asker,
) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let (answer, found) = oneshot::channel();
    names.send(LookUp { name, asker, answer }).await.map_err(io::Error::other)?;
    let found = found.await.map_err(|_| io::Error::other("too many names are looked up"))?;
    found.map_err(|error| io::Error::new(error.kind(), error))
}

/// A network whose names are looked up by a [`NamesActor`]: what links are handed.
pub(crate) struct WithNames {
    network: Rc<dyn Network>,
    names: Recipient<LookUp>,
}

impl WithNames {
    pub(crate) fn around(network: &Rc<dyn Network>, names: &Recipient<LookUp>) -> Rc<Self> {
        Rc::new(Self { network: Rc::clone(network), names: names.clone() })
    }
}

impl Network for WithNames {
    fn connect(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        self.network.connect(to)
    }

    fn connect_to_order(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        self.network.connect_to_order(to)
    }

    fn resolve(&self, name: &str) -> NetFuture<Vec<IpAddr>> {
        let (names, name) = (self.names.clone(), name.to_owned());
        Box::pin(async move { look_up(&names, name, Asker::Index).await })
    }

    fn address_towards(&self, to: IpAddr) -> io::Result<IpAddr> {
        self.network.address_towards(to)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.network.is_local(address)
    }
}
