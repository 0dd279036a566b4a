//! What is known against copies (R5): taken in, dated, told.

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::stored::{Lapse, LapseCause};
use crate::topology::transitions;
use crate::topology::{Event, Refusal, Seen, Topology};

impl Topology {
    /// A node was silent for longer than its master keeps trying. Nodes are told nothing: it only
    /// matters to who takes over, and what is copied again.
    pub(super) fn lapsed(
        &mut self,
        node: &NodeKey,
        seen: &Seen,
        silent_millis: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let entry = transitions::entry(&self.proposed, node)?;
        self.is_current(node, seen)?;
        let copies = match entry.role {
            Role::Slave => entry.state != State::Down,
            Role::Master => entry.state.is_preparing(),
            Role::Proxy => false,
        };
        let known = self.proposed.nodes.get(node).and_then(|stored| stored.lapse);
        let graver = known.is_none_or(|known| known.cause == LapseCause::Silent);
        if self.is_manual() || !copies || !graver {
            return Ok(());
        }
        let began = self.unix_seconds(now).saturating_sub(silent_millis / 1000);
        let lapse = Lapse {
            since_unix_seconds: known.and_then(|known| known.since_unix_seconds).or(Some(began)),
            silent_millis,
            ..known.unwrap_or(Lapse::new(LapseCause::Silent, self.proposed.version))
        };
        self.record(|draft| {
            if let Some(stored) = draft.nodes.get_mut(node) {
                stored.lapse = Some(lapse);
            }
        });
        self.settled = false;
        let (node, partition) = (node.clone(), entry.partition);
        self.gathered.events.push(Event::Lapsed { node, partition, lapse });
        Ok(())
    }

    pub(super) fn tell_lapsed_promoted(
        &mut self,
        node: NodeKey,
        partition: i32,
        lapse: Option<Lapse>,
    ) {
        let told = lapse.map(|lapse| Event::LapsedPromoted { node, partition, lapse });
        self.gathered.events.extend(told);
    }

    /// Dates what has come to be known since the last write.
    pub(super) fn date_lapses(&mut self, now: Timestamp) {
        let seconds = self.unix_seconds(now);
        for node in self.proposed.nodes.values_mut() {
            if let Some(lapse) = &mut node.lapse {
                lapse.since_unix_seconds = lapse.since_unix_seconds.or(Some(seconds));
            }
        }
    }

    fn unix_seconds(&self, now: Timestamp) -> u64 {
        self.settings.zero_unix_millis.saturating_add(now.0) / 1000
    }
}
