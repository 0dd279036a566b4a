//! Faults on demand: what a test can make a stand-in do wrong. A node without faults behaves as
//! upstream's does; every fault stays until it is used up or taken back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

/// The reports that a node sends to the index, each once (flare-protocol.md 6.3, 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Report {
    /// `node state <me> active`, from a slave whose copy is complete.
    Active,
    /// `node state <me> ready`, from a new master whose copies are complete.
    Ready,
    /// `node role <me> proxy 0 -1`, after a copy that failed.
    Proxy,
    /// `shutdown <me>`.
    Shutdown,
}

/// What happens to an answer instead of being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFault {
    /// Half of its bytes are sent, then the connection is closed.
    Half,
    /// The connection is closed without a byte of it.
    Close,
    /// It is withheld; the connection stays open. The request was executed.
    Withhold,
}

/// A fault to begin, or to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is executed, answered or sent to other nodes any more, while connections are still
    /// accepted: a hung process. What came meanwhile is executed when it ends.
    Silence(bool),
    /// Connections are refused and those that exist stay: the listening socket is closed.
    Refuse(bool),
    /// Every answer is sent that much later; zero ends it.
    Delay(Duration),
    /// Answers are sent byte by byte, with that pause before each; zero ends it.
    Drip(Duration),
    /// The next answers are spoiled.
    Answer {
        /// How.
        how: AnswerFault,
        /// Only answers to this request, by the name that `stats threads` shows (`ping`,
        /// `node_sync`, `set`, …); any if none.
        op: Option<String>,
        /// How many; 0 takes the fault back.
        times: u32,
    },
    /// The next reports of a kind are not sent, and the node goes on as if they had been.
    LoseReport {
        /// Which kind.
        report: Report,
        /// How many; 0 takes the fault back.
        times: u32,
    },
    /// A copy (reconstruction) waits before the first entry that it stores, and before each
    /// further one, until this ends.
    HoldCopy(bool),
    /// A copy waits that long before each entry that it stores; zero ends it.
    PauseCopy(Duration),
    /// The next copies fail after they have connected to their source; 0 takes the fault back.
    FailCopy(u32),
    /// A write that a client or another node asked for stops when it is carried out, before it is
    /// sent on to the copies, until this ends. Whether and to whom it is sent on then depends on
    /// the map that the node holds then: so upstream loses writes, in an instant in which it takes
    /// a map in.
    HoldWrites(bool),
    /// The record of this key becomes one that cannot be read, as a kill under load leaves some.
    /// Only emptying the node mends it: restarts and [`Fault::Clear`] do not.
    Damage(String),
    /// `ping` is answered with an error until the process ends, as after a failed change, or an
    /// access to the storage that upstream's time watcher finds too slow.
    FallSick,
    /// A new thread towards another node does not begin until this ends.
    HoldThreads(bool),
    /// A new thread towards another node begins that much later; zero ends it.
    DelayThreads(Duration),
    /// Ends all faults.
    Clear,
}

struct Spoil {
    how: AnswerFault,
    op: Option<String>,
    left: u32,
}

/// The faults in force.
pub(crate) struct Faults {
    silence: watch::Sender<bool>,
    refuse: watch::Sender<bool>,
    hold_copy: watch::Sender<bool>,
    hold_writes: watch::Sender<bool>,
    hold_threads: watch::Sender<bool>,
    delay: Cell<Duration>,
    drip: Cell<Duration>,
    pause_copy: Cell<Duration>,
    delay_threads: Cell<Duration>,
    fail_copies: Cell<u32>,
    answers: RefCell<Vec<Spoil>>,
    reports: RefCell<BTreeMap<Report, u32>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            silence: watch::Sender::new(false),
            refuse: watch::Sender::new(false),
            hold_copy: watch::Sender::new(false),
            hold_writes: watch::Sender::new(false),
            hold_threads: watch::Sender::new(false),
            delay: Cell::default(),
            drip: Cell::default(),
            pause_copy: Cell::default(),
            delay_threads: Cell::default(),
            fail_copies: Cell::default(),
            answers: RefCell::default(),
            reports: RefCell::default(),
        }
    }
}

/// Takes one from a number that is left; false if none is.
fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

async fn until_off(switch: &watch::Sender<bool>) {
    // the sender is borrowed, so the channel cannot close
    let _ = switch.subscribe().wait_for(|on| !on).await;
}

impl Faults {
    pub(crate) fn apply(&self, fault: Fault) {
        match fault {
            Fault::Silence(on) => drop(self.silence.send_replace(on)),
            Fault::Refuse(on) => drop(self.refuse.send_replace(on)),
            Fault::HoldCopy(on) => drop(self.hold_copy.send_replace(on)),
            Fault::HoldWrites(on) => drop(self.hold_writes.send_replace(on)),
            Fault::HoldThreads(on) => drop(self.hold_threads.send_replace(on)),
            Fault::Delay(delay) => self.delay.set(delay),
            Fault::Drip(pause) => self.drip.set(pause),
            Fault::PauseCopy(pause) => self.pause_copy.set(pause),
            Fault::DelayThreads(delay) => self.delay_threads.set(delay),
            Fault::FailCopy(times) => self.fail_copies.set(times),
            Fault::Answer { how, op, times } => {
                let mut answers = self.answers.borrow_mut();
                answers.retain(|spoil| spoil.how != how || spoil.op != op);
                answers.push(Spoil { how, op, left: times });
            }
            Fault::LoseReport { report, times } => {
                self.reports.borrow_mut().insert(report, times);
            }
            Fault::Clear => self.clear(),
            // these two befall the storage
            Fault::Damage(_) | Fault::FallSick => {}
        }
    }

    fn clear(&self) {
        let Self { silence, refuse, hold_copy, hold_writes, hold_threads, .. } = self;
        for switch in [silence, refuse, hold_copy, hold_writes, hold_threads] {
            switch.send_replace(false);
        }
        self.delay.set(Duration::ZERO);
        self.drip.set(Duration::ZERO);
        self.pause_copy.set(Duration::ZERO);
        self.delay_threads.set(Duration::ZERO);
        self.fail_copies.set(0);
        self.answers.borrow_mut().clear();
        self.reports.borrow_mut().clear();
    }

    /// Returns when the node is not silent.
    pub(crate) async fn while_silent(&self) {
        until_off(&self.silence).await;
    }

    pub(crate) fn delay(&self) -> Duration {
        self.delay.get()
    }

    /// The pause before each byte of an answer, if answers drip.
    pub(crate) fn drip(&self) -> Option<Duration> {
        Some(self.drip.get()).filter(|pause| !pause.is_zero())
    }

    /// Whether connections are to be refused, with news of changes.
    pub(crate) fn refusal(&self) -> watch::Receiver<bool> {
        self.refuse.subscribe()
    }

    /// What is to happen to the answer to this request; it counts as done.
    pub(crate) fn spoil(&self, op: &str) -> Option<AnswerFault> {
        let mut answers = self.answers.borrow_mut();
        let meant = |spoil: &&mut Spoil| spoil.op.as_deref().is_none_or(|name| name == op);
        let found = answers.iter_mut().filter(meant).find(|spoil| spoil.left > 0)?;
        take(&mut found.left).then_some(found.how)
    }

    /// Whether this report is lost; it counts as done.
    pub(crate) fn loses(&self, report: Report) -> bool {
        self.reports.borrow_mut().get_mut(&report).is_some_and(take)
    }

    /// Whether this copy fails; it counts as done.
    pub(crate) fn fails_copy(&self) -> bool {
        let mut left = self.fail_copies.get();
        let fails = take(&mut left);
        self.fail_copies.set(left);
        fails
    }

    /// Returns when a copy may store its next entry.
    pub(crate) async fn before_entry(&self) {
        let pause = self.pause_copy.get();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        until_off(&self.hold_copy).await;
    }

    /// Returns when a write that was carried out may be sent on.
    pub(crate) async fn before_copies(&self) {
        until_off(&self.hold_writes).await;
    }

    /// Returns when a new thread towards another node may begin.
    pub(crate) async fn before_thread(&self) {
        let delay = self.delay_threads.get();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        until_off(&self.hold_threads).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_spoiled_as_often_as_asked_and_only_where_asked() {
        let faults = Faults::default();
        let op = Some("ping".to_owned());
        faults.apply(Fault::Answer { how: AnswerFault::Half, op, times: 2 });
        assert_eq!(faults.spoil("get"), None);
        assert_eq!(faults.spoil("ping"), Some(AnswerFault::Half));
        assert_eq!(faults.spoil("ping"), Some(AnswerFault::Half));
        assert_eq!(faults.spoil("ping"), None);
    }

    #[test]
    fn reports_are_lost_by_kind_and_clear_ends_it() {
        let faults = Faults::default();
        faults.apply(Fault::LoseReport { report: Report::Active, times: 9 });
        assert!(!faults.loses(Report::Ready));
        assert!(faults.loses(Report::Active));
        faults.apply(Fault::Clear);
        assert!(!faults.loses(Report::Active));
    }
}
