//! Plays script commands against a topology, with a store that confirms by itself unless told not
//! to, and writes down what came of each.

use std::fmt::Write;

use flare_core::model::{HashSettings, Incarnation, NodeEntry, NodeKey, Role, State, Timestamp};
use flare_core::stored::{Holding, Lapse, LapseCause, StoredNode, StoredTopology};
use flare_core::topology::{
    DownReason, Effect, HandoverHow, HandoverWay, Input, Mode, Observation, Origin, RequestId,
    Seen, Settings, Step, StoreFailure, Topology,
};
use flare_core::wanted::Wanted;

use crate::show::{names, show_effect};
use crate::words::Words;

/// Nodes that a script's cluster may have, unless it says otherwise.
const NODES_MAX: usize = 1000;

/// One script's topology and clock.
#[derive(Default)]
pub(crate) struct Run {
    topology: Option<Topology>,
    setup: Setup,
    now: Timestamp,
    requests: u64,
    /// Do writes wait for `stored` or `store failed`?
    holds_writes: bool,
    pending: Option<u64>,
    /// Do connections wait for `connected`?
    holds_connections: bool,
}

#[derive(Default)]
struct Setup {
    stored: Option<StoredTopology>,
    wanted: Option<Wanted>,
    nodes_max: Option<usize>,
}

impl Run {
    /// Plays the commands of one block and returns the lines that came of them.
    pub(crate) fn play(&mut self, commands: &[&str]) -> String {
        let mut out = String::new();
        let mut lines = commands.iter().filter(|line| !line.starts_with('#')).peekable();
        while let Some(line) = lines.next() {
            let words = Words::of(line);
            if words.word(0) == "nodes" {
                let version = words.value("version").unwrap_or(1);
                let hash = self.setup.stored.take().map(|stored| stored.hash);
                let mut stored = StoredTopology::empty(hash.unwrap_or_default());
                stored.version = version;
                while let Some(line) = lines.next_if(|line| line.contains(':')) {
                    add_stored_node(&mut stored, &Words::of(line));
                }
                self.setup.stored = Some(stored);
                writeln!(out, "version {version}").expect("a string takes it");
            } else {
                self.command(&words, &mut out);
            }
        }
        out
    }

    fn command(&mut self, words: &Words<'_>, out: &mut String) {
        match words.word(0) {
            "wanted" => self.wanted(words, out),
            "hash" => {
                let stored = self
                    .setup
                    .stored
                    .get_or_insert_with(|| StoredTopology::empty(HashSettings::default()));
                let size = stored.hash.partition_size;
                stored.hash.partition_size = words.value("partition-size").unwrap_or(size);
                stored.hash.modular_hint = words.value("hint").unwrap_or(1);
            }
            "limit" => self.setup.nodes_max = words.value("nodes"),
            "hold-writes" => self.holds_writes = true,
            "release-writes" => self.holds_writes = false,
            "hold-connections" => self.holds_connections = true,
            "restart" => {
                let stored = self.topology().snapshot().stored().clone();
                self.setup.stored = Some(stored);
                self.topology = None;
                let snapshot = self.topology().snapshot().clone();
                let told = snapshot.entries().map(|(key, _)| key);
                let topology = self.topology();
                let at_once = |key: &&NodeKey| topology.tells_at_once(key);
                let told: Vec<NodeKey> = told.filter(at_once).cloned().collect();
                writeln!(out, "at once version {} to {}", snapshot.version(), names(&told))
                    .expect("a string takes it");
            }
            "map" => self.show_map(out),
            "types" => self.show_types(out),
            "facts" => {
                let facts = self.topology().facts(&words.node(1)).cloned();
                writeln!(out, "{facts:?}").expect("a string takes it");
            }
            "wait" => {
                self.now = self.now.plus_millis(words.word(1).parse().expect("milliseconds"));
                self.input(Input::WakeDue, out);
            }
            "stored" => self.confirm(out),
            "introduced" => {
                if !words.has("failed") {
                    self.input(Input::RelayReached, out);
                }
                self.input(Input::Introduced { node: words.node(1) }, out);
            }
            "store-failed" => {
                let Some(generation) = self.pending.take() else {
                    return out.push_str("no write is under way\n");
                };
                let failure = match words.has("conflict") {
                    true => StoreFailure::Conflict,
                    false => StoreFailure::Unwritable("no space left on device".into()),
                };
                self.input(Input::StoreFailed { generation, failure }, out);
            }
            _ => {
                let input = self.parse(words);
                self.input(input, out);
            }
        }
    }

    fn wanted(&mut self, words: &Words<'_>, out: &mut String) {
        let wanted = Wanted {
            partitions: words.value("partitions").unwrap_or(1),
            replicas: words.value("replicas").unwrap_or(1),
            paused: words.has("paused"),
            promote_lapsed: !words.has("keep-lapsed"),
        };
        self.setup.wanted = Some(wanted);
        if self.topology.is_some() {
            self.input(Input::WantedChanged { wanted }, out);
        }
    }

    fn topology(&mut self) -> &mut Topology {
        let setup = &self.setup;
        self.topology.get_or_insert_with(|| {
            let empty = || StoredTopology::empty(HashSettings::default());
            let mode = setup.wanted.map_or(Mode::Manual, Mode::Automatic);
            let nodes_max = setup.nodes_max.unwrap_or(NODES_MAX);
            let stored = setup.stored.clone().unwrap_or_else(empty);
            Topology::new(stored, Settings { mode, nodes_max, zero_unix_millis: 1_000_000_000_000 })
        })
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn parse(&mut self, words: &Words<'_>) -> Input {
        let origin = match words.value::<String>("from").as_deref() {
            Some("outsider") => Origin::Outsider,
            Some("admin") => Origin::Admin,
            _ => Origin::Node,
        };
        let version = self.topology().snapshot().version();
        match words.word(0) {
            "add" => Input::Register { request: self.request(), node: words.node(1), origin },
            "role" => Input::SetRole {
                request: self.request(),
                node: words.node(1),
                role: Role::from_word(words.word(2)).expect("a role"),
                balance: words.value("balance").unwrap_or(-1),
                partition: words.value("partition").unwrap_or(-1),
                origin,
            },
            "state" => Input::SetState {
                request: self.request(),
                node: words.node(1),
                state: State::from_word(words.word(2)).expect("a state"),
                origin,
            },
            "remove" => Input::Remove { request: self.request(), node: words.node(1), origin },
            "shutdown" => Input::Shutdown { request: self.request(), node: words.node(1), origin },
            "down" => Input::MarkDown {
                node: words.node(1),
                seen: seen(words, version),
                reason: DownReason::Refused,
            },
            "return" => Input::Return { node: words.node(1), seen: seen(words, version) },
            _ => self.parse_fact(words, origin, version),
        }
    }

    /// What links, the relay and the failover actor tell.
    fn parse_fact(&mut self, words: &Words<'_>, origin: Origin, version: u64) -> Input {
        match words.word(0) {
            "lapsed" => Input::Lapsed {
                node: words.node(1),
                seen: seen(words, version),
                silent_millis: words.value("silent").expect("milliseconds"),
            },
            "breaker" => Input::BreakerChanged {
                open: words.has("open"),
                assigned: words.value("assigned").unwrap_or(4),
                dead: words.value("dead").unwrap_or(2),
            },
            "suspected" => Input::Suspected { node: words.node(1), suspected: !words.has("no") },
            "linked" => Input::LinkOpened { node: words.node(1) },
            "unlinked" => Input::LinkEnded { node: words.node(1) },
            "acked" => Input::Acknowledged {
                node: words.node(1),
                version: words.value("version").unwrap_or(version),
            },
            "shows" => Input::Observed {
                node: words.node(1),
                observation: Observation {
                    incarnation: incarnation(words).unwrap_or(FIRST_PROCESS),
                    version: words.value("version").unwrap_or(version),
                    items: words.value("items").unwrap_or(0),
                    copying: words.has("copying"),
                },
            },
            "emptied" => Input::Emptied {
                node: words.node(1),
                intent: words.value("intent").expect("an intent"),
                ok: !words.has("failed"),
            },
            _ => self.parse_handover(words, origin),
        }
    }

    /// The commands of planned moves.
    fn parse_handover(&mut self, words: &Words<'_>, origin: Origin) -> Input {
        match words.word(0) {
            "switchover" => Input::Switchover {
                request: self.request(),
                partition: words.word(1).parse().expect("a partition"),
                to: words.value("to"),
                how: HandoverHow {
                    way: if words.has("pause") { HandoverWay::Pause } else { HandoverWay::Park },
                    end_clients: words.has("end-clients"),
                },
                origin: Origin::Admin,
            },
            "recover" => Input::Recover {
                request: self.request(),
                partition: words.word(1).parse().expect("a partition"),
                from: words.node(2),
                origin,
            },
            "connected" => {
                let node = words.node(1);
                let facts = self.topology().facts(&node);
                let towards = facts.and_then(|facts| facts.connecting.clone()).unwrap_or_default();
                let missing = words.value("missing").into_iter().collect();
                Input::Connected { node, towards, missing }
            }
            "connections" => Input::ConnectionsShown {
                node: words.node(1),
                towards: words.values("towards").collect(),
            },
            "clients-ended" => Input::ClientsEnded { node: words.node(1) },
            "leave" | "stay" => Input::PrepareToLeave {
                request: self.request(),
                node: words.node(1),
                leaves: words.word(0) == "leave",
                origin,
            },
            "leaving-listed" => {
                Input::LeavingListed { nodes: NodeKey::parse(words.word(1)).into_iter().collect() }
            }
            "zones" => Input::ZonesTold { zones: words.zones() },
            "relay" => Input::RelayOpened { relay: NodeKey::parse(words.word(1)) },
            "relay-ended" => Input::RelayEnded,
            "drained" => Input::QueueDrained {
                node: words.node(1),
                towards: words.value("towards").expect("a thread type"),
            },
            other => panic!("no such command: {other}"),
        }
    }

    fn input(&mut self, input: Input, out: &mut String) {
        let now = self.now;
        match self.topology().handle(input, now) {
            Ok(step) => self.carry_out(step, out),
            Err(refusal) => writeln!(out, "refused: {refusal:?}").expect("a string takes it"),
        }
    }

    fn carry_out(&mut self, step: Step, out: &mut String) {
        for effect in step.effects {
            match effect {
                Effect::Connect { node, towards, .. } if !self.holds_connections => {
                    self.input(Input::Connected { node, towards, missing: Vec::new() }, out);
                }
                Effect::Introduce { node, .. } if !self.holds_connections => {
                    self.input(Input::RelayReached, out);
                    self.input(Input::Introduced { node }, out);
                }
                Effect::ForgetKeys { .. } | Effect::FreeStuckWriters { .. }
                    if !self.holds_connections => {}
                effect => show_effect(&effect, out).expect("a string takes it"),
            }
        }
        if let Some(stored) = step.persist {
            writeln!(out, "persist version {}", stored.version).expect("a string takes it");
            self.pending = Some(stored.generation);
            if !self.holds_writes {
                self.confirm(out);
            }
        }
    }

    fn confirm(&mut self, out: &mut String) {
        match self.pending.take() {
            Some(generation) => self.input(Input::Stored { generation }, out),
            None => out.push_str("no write is under way\n"),
        }
    }

    fn show_types(&mut self, out: &mut String) {
        let snapshot = self.topology().snapshot().clone();
        for (key, entry) in snapshot.entries() {
            writeln!(out, "  {key} {}", entry.thread_type).expect("a string takes it");
        }
        writeln!(out, "  next {}", snapshot.stored().next_thread_type).expect("a string takes it");
    }

    fn show_map(&mut self, out: &mut String) {
        let snapshot = self.topology().snapshot().clone();
        writeln!(out, "version {}", snapshot.version()).expect("a string takes it");
        for (key, entry) in snapshot.entries() {
            writeln!(out, "  {key} {entry}").expect("a string takes it");
        }
        for (key, node) in &snapshot.stored().nodes {
            if let Some(lapse) = node.lapse {
                writeln!(out, "  {key}: {lapse}").expect("a string takes it");
            }
        }
        for blocked in self.topology().blocked() {
            writeln!(out, "  blocked: {blocked:?}").expect("a string takes it");
        }
    }
}

/// The process that a node is unless the script says otherwise.
const FIRST_PROCESS: Incarnation = Incarnation { started: 1000, pid: 1 };

fn incarnation(words: &Words<'_>) -> Option<Incarnation> {
    words.value("started").map(|started| Incarnation { started, pid: 1 })
}

fn seen(words: &Words<'_>, version: u64) -> Seen {
    Seen { version: words.value("seen").unwrap_or(version), incarnation: incarnation(words) }
}

fn add_stored_node(stored: &mut StoredTopology, words: &Words<'_>) {
    let mut entry = NodeEntry::new_proxy(stored.next_thread_type);
    entry.role = Role::from_word(words.word(1)).expect("a role");
    entry.state = State::from_word(words.word(2)).expect("a state");
    entry.partition = words.value("partition").unwrap_or(-1);
    entry.balance = words.value("balance").unwrap_or(0);
    stored.next_thread_type += 1;
    let mut node = StoredNode::new(entry);
    node.incarnation = Some(incarnation(words).unwrap_or(FIRST_PROCESS));
    if let Some(partition) = words.value("holds") {
        node.holds = Holding::Partition(partition);
    }
    if let Some(version) = words.value("lapsed-at") {
        let cause = match words.has("unfinished") {
            true => LapseCause::Unfinished,
            false => LapseCause::LostRole,
        };
        node.lapse = Some(Lapse::new(cause, version));
    }
    stored.nodes.insert(words.node(0), node);
}
