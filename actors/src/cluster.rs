//! Starts the actors of one cluster and ties them together.
//!
//! Everything they are handed comes in with a [`Blueprint`], so that a test can start the shipped
//! actors on a clock, a network and a store of its own.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Recipient};
use flare_core::policy::breaker::BreakerSettings;
use flare_core::policy::suspicion::MonitorSettings;
use flare_core::protocol::command::Variables;
use flare_core::stored::StoredTopology;
use flare_core::topology::{Mode, Settings, Topology};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::failover::{self, FailoverActor, Orders};
use crate::link::{LinkHome, TopologyEars};
use crate::metrics::ClusterMetrics;
use crate::names::{LookUp, NamesActor, WithNames};
use crate::net::{Listener, Network};
use crate::obituary::{Death, Obituary};
use crate::park::{self, ParkActor};
use crate::session::{self, Limits, ListenerActor, ListenerDoors, SessionHome, TopologyDoors};
use crate::store::StoreDoors;
use crate::topology::{self, ChangeMonitoring, Published, StoreAnswered, TopologyActor};
use crate::whereabouts::Addresses;

/// What a cluster's actors are made from.
pub struct Blueprint {
    /// The cluster's name, for logs, metrics and the page.
    pub name: Arc<str>,
    /// What was stored.
    pub stored: StoredTopology,
    /// Who decides, and how much there may be.
    pub settings: Settings,
    /// How nodes are watched.
    pub monitoring: MonitorSettings,
    /// When so many are dead that nothing is done by itself.
    pub breaking: BreakerSettings,
    /// What peers may use up.
    pub limits: Limits,
    /// What `show variables` tells.
    pub variables: Variables,
    /// The time.
    pub clock: Clock,
    /// How to reach nodes.
    pub network: Rc<dyn Network>,
    /// The index port.
    pub socket: Box<dyn Listener>,
    /// The port of the relay that holds writes while a master is swapped; 0: a free one each time.
    pub relay_port: u16,
    /// Starts what makes the map safe, given who is to be told how writes ended.
    pub store: StartStore,
    /// Where counts go.
    pub metrics: ClusterMetrics,
    /// Who hears of the end of an actor that the cluster cannot do without.
    pub deaths: mpsc::Sender<Death>,
}

/// See [`Blueprint::store`].
pub type StartStore = Box<dyn FnOnce(Recipient<StoreAnswered>) -> io::Result<StoreDoors>>;

/// The actors of one cluster; clones name the same ones.
#[derive(Clone)]
pub struct Cluster {
    /// Owns the node map.
    pub topology: Addr<TopologyActor>,
    /// Owns the suspicion.
    pub failover: Addr<FailoverActor>,
    /// Writes the map.
    pub store: StoreDoors,
    /// Owns the index port.
    pub listener: Addr<ListenerActor>,
    /// The committed map.
    pub published: watch::Receiver<Published>,
}

impl Cluster {
    /// Starts all actors; must be called inside a `LocalSet`.
    ///
    /// # Errors
    /// When the store cannot be started.
    pub fn start(blueprint: Blueprint) -> io::Result<Self> {
        let Blueprint { name, stored, settings, monitoring, limits, clock, metrics, .. } =
            blueprint;
        let deaths = blueprint.deaths;
        let mode = settings.mode;
        let core = Topology::new(stored, settings);
        let published = watch::Sender::new(Published::new(Arc::clone(core.snapshot())));
        let watching = published.subscribe();
        let addresses = watch::Sender::<Addresses>::default();
        let known_addresses = addresses.subscribe();

        let topology_context = Context::<TopologyActor>::new();
        let topology = topology_context.address();
        let store = (blueprint.store)(topology.clone().recipient())?;
        let failover = FailoverActor::new(
            monitoring,
            blueprint.breaking,
            core.snapshot(),
            clock,
            Orders::from(&topology),
            Some(Obituary::to_process(&deaths, "failover")),
        )
        .start();
        let relay = start_relay(&blueprint.network, blueprint.relay_port, &topology, &deaths);
        let names = start_names(&blueprint.network, &deaths);
        let link_home = Rc::new(LinkHome {
            cluster: Arc::clone(&name),
            clock,
            published: watching.clone(),
            network: WithNames::around(&blueprint.network, &names),
            metrics: metrics.clone(),
            topology: TopologyEars::from(&topology),
            failover: failover.clone().recipient(),
        });
        topology_context.run(TopologyActor::new(topology::Parts {
            cluster: Arc::clone(&name),
            topology: core,
            mode,
            clock,
            store: store.write.clone(),
            failover: failover.clone().recipient(),
            relay,
            link_home,
            monitoring,
            published,
            addresses,
            metrics: metrics.clone(),
            obituary: Some(Obituary::to_process(&deaths, "topology")),
        }));
        let listener_context = Context::<ListenerActor>::new();
        let listener = listener_context.address();
        let home = Rc::new(SessionHome {
            published: watching.clone(),
            topology: TopologyDoors::from(&topology),
            listener: ListenerDoors::from(&listener),
            network: blueprint.network,
            addresses: known_addresses,
            names,
            clock,
            metrics,
            cluster: name,
            checks_origin: matches!(mode, Mode::Automatic(_)),
        });
        listener_context.run(ListenerActor::new(session::Parts {
            socket: blueprint.socket,
            limits,
            variables: blueprint.variables,
            home,
            obituary: Some(Obituary::to_process(&deaths, "listener")),
        }));
        Ok(Self { topology, failover, store, listener, published: watching })
    }

    /// Watches nodes in another way from now on.
    pub fn change_monitoring(&self, monitoring: MonitorSettings, breaking: BreakerSettings) {
        self.topology.do_send(ChangeMonitoring { settings: monitoring });
        self.failover.do_send(failover::ChangeSettings { monitoring, breaking });
    }
}

fn start_names(network: &Rc<dyn Network>, deaths: &mpsc::Sender<Death>) -> Recipient<LookUp> {
    let obituary = Obituary::to_process(deaths, "names");
    NamesActor::new(Rc::clone(network), Some(obituary)).start().recipient()
}

fn start_relay(
    network: &Rc<dyn Network>,
    port: u16,
    topology: &Addr<TopologyActor>,
    deaths: &mpsc::Sender<Death>,
) -> Addr<ParkActor> {
    let parts = park::Parts {
        network: Rc::clone(network),
        port,
        opened: topology.clone().recipient(),
        reached: topology.clone().recipient(),
        ended: topology.clone().recipient(),
        obituary: Some(Obituary::to_process(deaths, "relay")),
    };
    ParkActor::new(parts).start()
}
