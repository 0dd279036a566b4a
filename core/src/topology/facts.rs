//! What is known of a node beside its stored entry: gone after a restart of the index, and
//! learned again from the node itself (R10), its zone from whoever tells zones.

use std::collections::BTreeSet;

use crate::model::{Incarnation, NodeEntry, NodeKey, Role, State, Timestamp};
use crate::policy::watchdog::Watch;
use crate::topology::Observation;
use crate::zones::Zone;

/// A preparing node is asked for its `stats` this often, as are those that its evidence needs.
pub const PROBE_INTERVAL_MILLIS: u64 = 1_000;

/// Observations that count as two are at least this far apart.
const QUIET_APART_MILLIS: u64 = PROBE_INTERVAL_MILLIS / 2;

/// The first pause before a node whose copy failed is used again; it doubles with each failure.
pub const RETRY_PAUSE_MILLIS: u64 = 1_000;

/// The longest such pause.
pub const RETRY_PAUSE_MILLIS_MAX: u64 = 60_000;

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Facts {
    /// The highest version that this process acknowledged or showed; 0 when not known.
    pub acked: u64,
    /// Does the connection to it stand?
    pub linked: bool,
    /// Since when it does, or did last.
    pub linked_since: Timestamp,
    /// The zone it lies in, if somebody said so.
    pub zone: Option<Zone>,
    /// Was its link heard from since the index knows the node: did a connection stand, end or fail?
    pub heard: bool,
    /// Did the last attempt to reach it fail? Then it takes nothing over (R5).
    pub suspected: bool,
    /// Since when it is down, if it is; the start of the index for one that was down before.
    pub down_since: Timestamp,
    /// What it last showed on the present connection; after its end, what it holds is unknown.
    pub observed: Option<Observation>,
    /// When it showed that.
    pub observed_at: Option<Timestamp>,
    /// If it last showed that it holds nothing, the version of our map at that time. Known beyond
    /// the end of the connection, until another process answers.
    pub showed_empty: Option<u64>,
    /// A person was told that this process came back empty, and which copy was the best, if one
    /// was.
    pub told_empty: Option<Option<NodeKey>>,
    /// The version that last changed its entry.
    pub changed_version: u64,
    /// The version that last changed its role or partition.
    pub role_version: u64,
    /// Observations in a row, since it was given its role, in which it did not copy.
    pub quiet: u32,
    /// When the first of them was made.
    pub quiet_since: Option<Timestamp>,
    /// When the last of them was made.
    pub quiet_at: Option<Timestamp>,
    /// The `flush_all` under way, by its intent.
    pub emptying: Option<u64>,
    /// The intent that this process carried out.
    pub emptied: Option<u64>,
    /// Since it lost its role: has nobody anything on its way to it any more?
    pub drained: bool,
    /// The thread types of nodes that it is known to have its connections to.
    pub connected: BTreeSet<u32>,
    /// The thread types of nodes that it showed its connections to; they stay as long as the
    /// process does.
    pub shows_connected: BTreeSet<u32>,
    /// Those that it is being made to connect to.
    pub connecting: Option<Vec<u32>>,
    /// May there be a key that was written for that, and is to be deleted?
    pub has_connecting_key: bool,
    /// The version of the role for which its writers were looked after.
    pub freed_for: u64,
    /// When it was last asked for its `stats`.
    pub probed_at: Option<Timestamp>,
    /// Copies, or handovers of its partition, that failed in a row.
    pub failures: u32,
    /// Not to be used for a role before this moment.
    pub retry_at: Option<Timestamp>,
    /// Did this process begin to copy as a new partition's master, and not end it? Then it may
    /// never say again that such a copy is complete (flare-protocol.md Q9).
    pub failed_as_master: bool,
    /// Whether it gets on.
    pub watch: Watch,
}

impl Facts {
    /// Facts of a node of a stored map, after the index was started: its entry may be as young as
    /// the map, and nothing was heard of it.
    pub(crate) fn unheard(version: u64) -> Self {
        Self { changed_version: version, role_version: version, ..Self::default() }
    }

    /// Forgets what was true of the process, since another one has taken its place. A `flush_all`
    /// under way stays known until the link tells its end: a second one beside it could reach the
    /// node after it was given a role.
    pub(crate) fn process_ended(&mut self) {
        self.acked = 0;
        self.observed = None;
        self.showed_empty = None;
        self.told_empty = None;
        self.quiet = 0;
        self.emptied = None;
        self.failed_as_master = false;
        self.watch.begins_anew();
        self.forget_connections();
    }

    fn forget_connections(&mut self) {
        self.connected.clear();
        self.shows_connected.clear();
        self.connecting = None;
    }

    /// The connection ended: whether the same process comes back on the next one, and with what,
    /// is to be seen.
    pub(crate) fn link_ended(&mut self) {
        self.linked = false;
        self.heard = true;
        self.observed = None;
        self.quiet = 0;
        self.emptying = None;
        self.emptied = None;
        self.forget_connections();
    }

    /// Does it answer, and is it known which process does?
    pub fn answers(&self) -> bool {
        self.linked && self.observed.is_some()
    }

    /// Did it show that it holds nothing, after its entry was last changed?
    pub fn is_known_empty(&self) -> bool {
        self.showed_empty.is_some_and(|version| version >= self.changed_version)
    }

    /// What it showed after it had taken its present role in. Earlier counts say nothing: a proxy
    /// that held no item has become a slave with many since.
    pub fn observed_in_role(&self) -> Option<&Observation> {
        let role_version = self.role_version;
        self.observed.as_ref().filter(|observed| observed.version >= role_version)
    }

    /// What the policy decides by, of what the node shows.
    pub(crate) fn gist(&self) -> (bool, bool, Option<(u64, bool)>) {
        let in_role = self.observed_in_role().map(|shown| (shown.items, shown.copying));
        (self.knows_its_role(), self.observed.is_some(), in_role)
    }

    /// The process that answered last on the present connection.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.observed.map(|observed| observed.incarnation)
    }

    /// Counts observations in which a preparing node did not copy. Two that come at nearly the
    /// same moment are one: the copy may have been about to begin.
    pub(crate) fn note_copying(&mut self, copying: bool, now: Timestamp) {
        let apart = self.quiet_at.is_none_or(|at| now.millis_since(at) >= QUIET_APART_MILLIS);
        if copying {
            self.quiet = 0;
        } else if apart {
            if self.quiet == 0 {
                self.quiet_since = Some(now);
            }
            self.quiet = self.quiet.saturating_add(1);
            self.quiet_at = Some(now);
        }
    }

    /// Its entry is about to become another one: did it begin a copy that it now does not end?
    pub(crate) fn gives_copy_up(&mut self, old: &NodeEntry, new: &NodeEntry) {
        let copied = old.role == Role::Master && old.state == State::Prepare;
        // one that ends it all the same is well
        self.failed_as_master &= new.state != State::Ready;
        self.failed_as_master |= copied && new.role == Role::Proxy && self.knows_its_role();
    }

    /// Has the node taken in the map that shows its present role?
    pub fn knows_its_role(&self) -> bool {
        self.acked > 0 && self.acked >= self.role_version
    }

    /// Counts a failed copy, or a failed handover of its partition, and sets the pause before
    /// the next try.
    pub(crate) fn failed(&mut self, now: Timestamp) {
        let pause = RETRY_PAUSE_MILLIS << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.plus_millis(pause.min(RETRY_PAUSE_MILLIS_MAX)));
    }
}
