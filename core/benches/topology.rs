//! What one input costs the topology of a cluster of 1,000 nodes: `cargo bench -p flare-core`.
//!
//! Prints the median and the 99th percentile per input; asserts nothing. An acknowledgement comes
//! a thousand times per pushed map, so that it should stay well under 10 µs.

use std::time::Instant;

use flare_core::model::{HashSettings, Incarnation, NodeKey, Timestamp};
use flare_core::stored::StoredTopology;
use flare_core::topology::{
    Effect, Input, Mode, Observation, Origin, RequestId, Settings, Step, Topology,
};
use flare_core::wanted::Wanted;

const NODES: i32 = 1_000;

struct Bench {
    topology: Topology,
    now: Timestamp,
    requests: u64,
    empties: Vec<(NodeKey, u64)>,
}

impl Bench {
    fn new(mode: Mode) -> Self {
        let settings = Settings { mode, nodes_max: 2_000, zero_unix_millis: 0 };
        let topology = Topology::new(StoredTopology::empty(HashSettings::default()), settings);
        Self { topology, now: Timestamp(0), requests: 0, empties: Vec::new() }
    }

    /// Gives an input and confirms what it wants stored, as a store would that is quick.
    fn input(&mut self, input: Input) {
        if let Ok(step) = self.topology.handle(input, self.now) {
            self.carry_out(step);
        }
    }

    fn carry_out(&mut self, step: Step) {
        for effect in step.effects {
            if let Effect::Empty { node, intent, .. } = effect {
                self.empties.push((node, intent));
            }
        }
        if let Some(state) = step.persist {
            self.input(Input::Stored { generation: state.generation });
        }
    }

    fn register(&mut self, node: NodeKey) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(Input::Register { request, node, origin: Origin::Node });
    }

    fn observe(&mut self, node: NodeKey) {
        let incarnation = Incarnation { started: 1_000, pid: 1 };
        let version = self.topology.snapshot().version();
        let observation = Observation { incarnation, version, items: 0, copying: false };
        self.input(Input::Observed { node, observation });
    }

    fn acknowledge(&mut self, node: NodeKey) {
        let version = self.topology.snapshot().version();
        self.input(Input::Acknowledged { node, version });
    }
}

fn node(number: i32) -> NodeKey {
    NodeKey::new(&format!("node-{}", number / 4), 12_000 + number)
}

/// Times one input per node.
fn each(what: &str, bench: &mut Bench, mut input: impl FnMut(&mut Bench, NodeKey)) {
    let mut nanos: Vec<u128> = Vec::new();
    for number in 0..NODES {
        let key = node(number);
        let began = Instant::now();
        input(bench, key);
        nanos.push(began.elapsed().as_nanos());
    }
    nanos.sort_unstable();
    let micros = |at: usize| {
        let nanos = u64::try_from(nanos[at]).unwrap_or(u64::MAX);
        format!("{}.{:02}", nanos / 1_000, nanos % 1_000 / 10)
    };
    let (median, high) = (micros(nanos.len() / 2), micros(nanos.len() * 99 / 100));
    println!("{what:<52} median {median:>9} µs   p99 {high:>9} µs");
}

fn play(name: &str, mode: Mode) {
    println!("{name}, {NODES} nodes");
    let mut bench = Bench::new(mode);
    each("  node add (each stored by itself)", &mut bench, Bench::register);
    each("  link opened", &mut bench, |bench, node| bench.input(Input::LinkOpened { node }));
    each("  first observation (stored)", &mut bench, Bench::observe);
    each("  acknowledgement", &mut bench, Bench::acknowledge);
    each("  observation", &mut bench, Bench::observe);
    for _ in 0..20 {
        for (node, intent) in std::mem::take(&mut bench.empties) {
            bench.input(Input::Emptied { node, intent, ok: true });
        }
    }
    each("  acknowledgement, later", &mut bench, Bench::acknowledge);
}

fn main() {
    play("By hand", Mode::Manual);
    let wanted = |partitions, replicas| {
        Mode::Automatic(Wanted { partitions, replicas, paused: false, promote_lapsed: true })
    };
    play("Automatic, 1 partition of 1 copy wanted", wanted(1, 1));
    play("Automatic, 100 partitions of 3 copies wanted", wanted(100, 3));
}
