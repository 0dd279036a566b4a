//! The words of the domain: node keys, roles, states, one node's entry, the whole node map.
//!
//! Plain values with no behaviour beyond reading themselves; `topology` changes them, `protocol`
//! and `stored` put them into bytes. Facts: flare-protocol.md 1.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The partition number of a node that belongs to none (flare-protocol.md 1.2).
pub const NO_PARTITION: i32 = -1;

/// The first thread type an index hands out; lower ones are taken by flared's built-in thread
/// kinds (flare-protocol.md 1.5).
pub const FIRST_THREAD_TYPE: u32 = 16;

/// A node's identity: its server name and port, ordered as Flare orders them.
///
/// The order is that of the bytes of `<name>:<port>`, so `h:10000` sorts before `h:9999`; every
/// listing and the tie-break of a failover follow it (flare-protocol.md 1.2). Cloning is cheap.
#[derive(Clone, Eq)]
pub struct NodeKey {
    text: Arc<str>,
    name_len: usize,
    port: i32,
}

impl NodeKey {
    /// The key of the node `name` at `port`; neither is checked (flared checks neither).
    pub fn new(name: &str, port: i32) -> Self {
        Self { text: format!("{name}:{port}").into(), name_len: name.len(), port }
    }

    /// Reads `<name>:<port>`, split at the first colon as flared splits it. `None` when there is
    /// no colon, the name is empty or the port is not a number.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, port) = text.split_once(':')?;
        if name.is_empty() {
            return None;
        }
        Some(Self::new(name, port.parse().ok()?))
    }

    /// The server name, used verbatim as the host that everyone resolves.
    pub fn name(&self) -> &str {
        &self.text[..self.name_len]
    }

    /// The server port; 32 bit and not range-checked, as on the wire.
    pub fn port(&self) -> i32 {
        self.port
    }

    /// The whole key, `<name>:<port>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for NodeKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Ord for NodeKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for NodeKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::hash::Hash for NodeKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for NodeKey {
    type Err = NotANodeKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or_else(|| NotANodeKey(text.to_owned()))
    }
}

/// A text that was to be a node key is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a node: it must be name:port")]
pub struct NotANodeKey(String);

impl Serialize for NodeKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NodeKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a node is for (flare-protocol.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes a partition's writes and copies them to its slaves.
    Master,
    /// Holds a copy of its partition's data.
    Slave,
    /// Holds nothing; passes requests on.
    Proxy,
}

impl Role {
    /// The number in a `NODE` line.
    pub fn number(self) -> i32 {
        match self {
            Self::Master => 0,
            Self::Slave => 1,
            Self::Proxy => 2,
        }
    }

    /// The role with this number in a `NODE` line or in `flare.xml`.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Master, Self::Slave, Self::Proxy].into_iter().find(|role| role.number() == number)
    }

    /// The word in `stats nodes` and `node role`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Proxy => "proxy",
        }
    }

    /// The role with this word; case-sensitive, as in flarei.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Master, Self::Slave, Self::Proxy].into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far a node is in its role (flare-protocol.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Serves in its role.
    Active,
    /// Copies the data that its role needs.
    Prepare,
    /// Considered dead.
    Down,
    /// A master that has copied and waits to be activated.
    Ready,
}

impl State {
    /// The number in a `NODE` line; note that `ready` is 3.
    pub fn number(self) -> i32 {
        match self {
            Self::Active => 0,
            Self::Prepare => 1,
            Self::Down => 2,
            Self::Ready => 3,
        }
    }

    /// The state with this number in a `NODE` line or in `flare.xml`.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The word in `stats nodes` and `node state`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Prepare => "prepare",
            Self::Down => "down",
            Self::Ready => "ready",
        }
    }

    /// The state with this word; case-sensitive, as in flarei.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Still on the way into its role: prepare or ready.
    pub fn is_preparing(self) -> bool {
        matches!(self, Self::Prepare | Self::Ready)
    }

    const ALL: [Self; 4] = [Self::Active, Self::Prepare, Self::Down, Self::Ready];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One node's line in the node map (flare-protocol.md 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeEntry {
    /// What the node is for.
    pub role: Role,
    /// How far it is in that role.
    pub state: State,
    /// The partition, [`NO_PARTITION`] for a proxy.
    pub partition: i32,
    /// The weight for reads, 0 or more; 0 means no proxied reads.
    pub balance: i32,
    /// The key of connections to this node inside other nodes: unique, never reused
    /// (flare-protocol.md 1.5).
    pub thread_type: u32,
}

impl NodeEntry {
    /// A node as it is right after its first `node add` (flare-protocol.md 3.2).
    pub fn new_proxy(thread_type: u32) -> Self {
        Self {
            role: Role::Proxy,
            state: State::Active,
            partition: NO_PARTITION,
            balance: 0,
            thread_type,
        }
    }

    /// Makes it a proxy of no partition in `state`, keeping its thread type.
    pub fn become_proxy(&mut self, state: State) {
        *self = Self { state, ..Self::new_proxy(self.thread_type) };
    }

    /// Is it a slave of `partition`, in any state?
    pub fn is_slave_of(&self, partition: i32) -> bool {
        self.role == Role::Slave && self.partition == partition
    }

    /// Is it a master of `partition`, in any state?
    pub fn is_master_of(&self, partition: i32) -> bool {
        self.role == Role::Master && self.partition == partition
    }

    /// A master that keeps its role while it is down, so that the number of partitions does not
    /// change (flare-protocol.md 3.5 calls it preserved).
    pub fn is_preserved(&self) -> bool {
        self.role == Role::Master && self.state == State::Down
    }
}

impl fmt::Display for NodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.state)?;
        if self.partition != NO_PARTITION {
            write!(f, " partition={}", self.partition)?;
        }
        if self.balance != 0 {
            write!(f, " balance={}", self.balance)?;
        }
        Ok(())
    }
}

/// The nodes of a cluster in Flare's order.
pub type NodeMap = BTreeMap<NodeKey, NodeEntry>;

/// Milliseconds on a clock that only goes forward; its zero is when the process began.
///
/// Handed in with every input: the core has no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This moment and `millis` more.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this is, in milliseconds; 0 when it is not after it.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How keys are placed; fixed for a cluster's life (R14, flare-protocol.md 1.7 and 1.8).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashSettings {
    /// `partition-size`: rows of the resolver table; usable partitions stay below it.
    pub partition_size: u32,
    /// `key-hash-algorithm`.
    pub algorithm: HashAlgorithm,
    /// `partition-modular-hint`: at least 1; growth within it scrambles keys.
    pub modular_hint: u32,
    /// `partition-modular-virtual`: slots per row.
    pub modular_virtual: u32,
}

impl Default for HashSettings {
    fn default() -> Self {
        Self {
            partition_size: 1024,
            algorithm: HashAlgorithm::Simple,
            modular_hint: 1,
            modular_virtual: 4096,
        }
    }
}

/// The hash functions that an index may choose (flare-protocol.md 1.7); the other three are
/// reserved for flared's own use and make flarei exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    /// The sum of the bytes.
    Simple,
    /// zlib's CRC-32.
    Crc32,
    /// Bob Jenkins' lookup3.
    Jenkins,
}

impl HashAlgorithm {
    /// The word in `meta` and in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Crc32 => "crc32",
            Self::Jenkins => "jenkins",
        }
    }

    /// The algorithm with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Simple, Self::Crc32, Self::Jenkins].into_iter().find(|a| a.word() == word)
    }
}

/// One flared process (R13): a restarted one is another, whatever its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// When the process began, Unix seconds: `time` - `uptime` of its `stats`.
    pub started: i64,
    /// `pid` of its `stats`; 1 in most containers.
    pub pid: u32,
}

impl Incarnation {
    /// The start time is a difference of two clocks that tick once a second, so that one process
    /// may be seen to have started a second earlier or later.
    pub const STARTED_JITTER_SECONDS: u64 = 1;

    /// Is this the same process, seen twice?
    pub fn is_same(&self, other: &Self) -> bool {
        self.pid == other.pid
            && self.started.abs_diff(other.started) <= Self::STARTED_JITTER_SECONDS
    }
}
