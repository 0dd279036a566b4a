//! The cluster as a client sees it, from inside its network: maps that the index and the nodes
//! hold, keys through the Service. It looks from the network of the Kubernetes node that runs the
//! index, since that one is never cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use flare_e2e::suite::client::Client;
use flare_e2e::suite::keys::{Ledger, Report, Traffic};
use flare_e2e::suite::map::NodeMap;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::{Builder, Runtime};

use super::super::super::enter;
use super::super::lab::Lab;

/// What deploy/index/index.yaml asks for.
pub(super) const PARTITIONS: i32 = 2;
const COPIES: usize = 2;
const PODS: usize = 4;

/// How long the cluster may take to be whole again: a pod that was recreated is found under its
/// new address only when DNS has forgotten the old one, and is then copied.
const PATIENCE: Duration = Duration::from_secs(240);

/// Longest time until a node answers a client. After a cut each of two masters may wait for the
/// other to carry its write out, which ends with four times the `net-read-timeout` of nodes.yaml.
const STALL: Duration = Duration::from_secs(60);

/// How often maps are looked at: often enough to time a failover.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Between two writes of a client while a master moves. As fast as they come, they would only
/// compete with the cluster.
pub(super) const BRISK: Duration = Duration::from_millis(2);

/// The same while a copy comes back, which may take a minute: all keys are read in the end.
pub(super) const CALM: Duration = Duration::from_millis(50);

/// The cluster, from inside.
pub(super) struct World {
    pub(super) lab: Lab,
    runtime: Runtime,
    pub(super) index: SocketAddr,
    pub(super) service: SocketAddr,
    /// Figures that were measured, for the report.
    pub(super) notes: Vec<String>,
}

/// Runs a test inside the cluster's network.
pub(super) fn inside(lab: &Lab, test: impl FnOnce(&mut World) -> Result<()> + Send) -> Result<()> {
    let home = lab.eventually("the index to be on a node", || {
        let node = lab.field("pod/flare-index-0", ".spec.nodeName")?;
        ensure!(!node.is_empty(), "it is on none yet");
        Ok(node)
    })?;
    let network = enter::network_of(lab.paths(), &home)?;
    let network = File::open(&network).with_context(|| format!("open {}", network.display()))?;
    let paths = lab.paths().clone();
    let outcome = thread::scope(|scope| {
        // A thread of its own, since it does not come back out of that network.
        let running = scope.spawn(move || -> Result<Vec<String>> {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .context("enter the node's network")?;
            let mut world = World::new(Lab::new(paths))?;
            test(&mut world)?;
            Ok(world.notes)
        });
        running.join().unwrap_or_else(|_| Err(anyhow!("the test panicked")))
    });
    outcome.map(|notes| notes.into_iter().for_each(|note| lab.note(note)))
}

impl World {
    fn new(lab: Lab) -> Result<Self> {
        // Its threads are started by this one, so they are in the same network.
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let address = |service: &str, port: u16| -> Result<SocketAddr> {
            let address = lab.field(&format!("service/{service}"), ".spec.clusterIP")?;
            Ok(SocketAddr::new(address.parse().context("a Service's address")?, port))
        };
        let (index, service) = (address("flare-index", 12120)?, address("flare", 12121)?);
        let runtime = runtime.context("start a runtime")?;
        Ok(Self { lab, runtime, index, service, notes: Vec::new() })
    }

    /// The map that a node or the index holds.
    pub(super) fn map(&self, address: SocketAddr) -> Result<NodeMap> {
        self.runtime.block_on(async {
            let limit = Duration::from_secs(2);
            let look = async {
                let mut client = Client::connect(address).await?.answer_within(limit);
                NodeMap::from_stats(&client.stats("stats nodes").await?)
            };
            tokio::time::timeout(limit, look).await.context("no answer")?
        })
    }

    /// The nodes' pods that have an address: node key to address.
    pub(super) fn pods(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let path = "{range .items[*]}{.metadata.name} {.status.podIP} {.metadata.namespace}\n{end}";
        let output = format!("--output=jsonpath={path}");
        let text = self.lab.kubectl_words(&["get", "pods", "--selector=app=flare", &output])?;
        let mut pods = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [pod, address, namespace] = words[..] else { continue };
            let Ok(address) = address.parse() else { continue };
            let key = format!("{pod}.flare-nodes.{namespace}.svc.cluster.local:12121");
            pods.insert(key, SocketAddr::new(address, 12121));
        }
        Ok(pods)
    }

    /// Waits until every partition has its master and slaves, all nodes hold that map, and all
    /// pods are Ready.
    pub(super) fn settled(&self) -> Result<NodeMap> {
        let since = Instant::now();
        loop {
            let error = match self.is_settled() {
                Ok(map) => return Ok(map),
                Err(error) => error,
            };
            self.lab.check_parts()?;
            if since.elapsed() > PATIENCE {
                return Err(error.context(format!("not whole again after {PATIENCE:?}")));
            }
            thread::sleep(LOOK_AGAIN * 10);
        }
    }

    fn is_settled(&self) -> Result<NodeMap> {
        let pods = self.pods()?;
        ensure!(pods.len() == PODS, "{} pods have an address", pods.len());
        let ready = self.lab.field("statefulset/flare", ".status.readyReplicas")?;
        ensure!(ready == PODS.to_string(), "{ready} pods are Ready");
        let wanted = self.map(self.index).context("ask the index")?;
        wanted.require_shape(PARTITIONS, COPIES)?;
        for (key, address) in &pods {
            let held = self.map(*address).with_context(|| format!("ask {key}"))?;
            ensure!(held == wanted, "{key} holds another map:\n{held}\nthan the index:\n{wanted}");
        }
        Ok(wanted)
    }

    /// Waits until the index and all these nodes hold a map in which somebody else is the active
    /// master of a partition; how long after `since` that was.
    pub(super) fn until_moved(
        &self,
        nodes: &[SocketAddr],
        partition: i32,
        from: &str,
        since: Instant,
    ) -> Result<Duration> {
        let mut waiting: Vec<SocketAddr> = nodes.to_vec();
        waiting.push(self.index);
        let mut last = String::new();
        while !waiting.is_empty() {
            waiting.retain(|address| match self.map(*address) {
                Ok(map) => {
                    last = map.to_string();
                    map.master(partition).is_none_or(|master| master == from)
                }
                Err(error) => {
                    last = format!("{error:#}");
                    true
                }
            });
            if since.elapsed() > PATIENCE {
                bail!("the master did not move at {waiting:?}; last seen: {last}");
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(since.elapsed())
    }

    /// Keys written through these nodes, some of them deleted again; all of it is acknowledged.
    pub(super) fn write(&self, nodes: &[SocketAddr], prefix: &str) -> Result<Ledger> {
        let mut ledger = Ledger::patient(STALL);
        self.runtime.block_on(ledger.write(nodes, prefix, 200))?;
        self.delete(nodes, &mut ledger)?;
        Ok(ledger)
    }

    /// Deletes some of a ledger's keys through one of these nodes.
    pub(super) fn delete(&self, nodes: &[SocketAddr], ledger: &mut Ledger) -> Result<()> {
        let some: Vec<String> = ledger.present().step_by(4).map(str::to_owned).collect();
        let node = *nodes.first().context("no node to write through")?;
        self.runtime.block_on(ledger.delete(node, &some))
    }

    /// A client that goes on writing through these in turn while something happens, with a pause
    /// after each write.
    pub(super) fn traffic(
        &self,
        through: Vec<SocketAddr>,
        prefix: &str,
        steady: &Ledger,
        pause: Duration,
    ) -> Result<Traffic> {
        // Beside the logs of the parts, which are kept when a test fails.
        let path = self.lab.paths().logs().join(format!("traffic-{prefix}.log"));
        let log = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        let _inside = self.runtime.enter();
        Ok(Traffic::start(through, prefix, steady, pause, log))
    }

    /// The same through the clients' Service, once it flows.
    pub(super) fn flowing(&self, prefix: &str, steady: &Ledger) -> Result<Traffic> {
        let mut traffic = self.traffic(vec![self.service], prefix, steady, BRISK)?;
        self.runtime.block_on(traffic.flows(20))?;
        Ok(traffic)
    }

    /// Ends a client; what it saw.
    pub(super) fn stop(&self, traffic: Traffic) -> Result<Report> {
        self.runtime.block_on(traffic.stop())
    }

    /// Every key has its value, or is gone, at every node.
    pub(super) fn check(&self, ledger: &Ledger) -> Result<()> {
        for (key, address) in &self.pods()? {
            self.runtime
                .block_on(ledger.check(*address))
                .with_context(|| format!("read all keys at {key}"))?;
        }
        Ok(())
    }

    /// How many keys are wrong at any node.
    pub(super) fn count_wrong(&self, ledger: &Ledger) -> Result<usize> {
        let mut wrong = BTreeSet::new();
        for (key, address) in &self.pods()? {
            let found = self.runtime.block_on(ledger.wrong(*address));
            wrong.extend(found.with_context(|| format!("read all keys at {key}"))?.into_keys());
        }
        Ok(wrong.len())
    }

    /// The pod of a node key.
    pub(super) fn pod_of(key: &str) -> Result<&str> {
        key.split('.').next().context("a node key begins with its pod's name")
    }
}
