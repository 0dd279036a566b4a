//! What the core says in variants, said in sentences for the person on call.

use flare_core::model::NodeKey;
use flare_core::policy::recovery::Candidate;
use flare_core::policy::watchdog::COPY_STALL_MILLIS;
use flare_core::stored::Lapse;
use flare_core::topology::{Blocked, Event, Refusal};

/// What stands in the way, and what to do about it.
pub(super) fn of_blocked(blocked: &Blocked) -> String {
    match blocked {
        Blocked::BreakerOpen => {
            "The circuit breaker is open: nothing is failed over or assigned until enough nodes \
             are healthy again, or a person closes it."
                .to_owned()
        }
        Blocked::PartitionReduction { have, wanted } => format!(
            "The manifest reduces the partitions from {have} to {wanted}. That would lose keys, \
             so nothing was changed; the safe way has five steps."
        ),
        Blocked::GrowthWithinHint { have, hint } => format!(
            "The cluster has {have} partitions and a modular hint of {hint}. Growing within the \
             hint would move keys between partitions, which flared does not do; build a new \
             cluster of the wanted size and copy the data into it."
        ),
        Blocked::PartitionSize { wanted, most } => format!(
            "{wanted} partitions are wanted, but partition-size allows at most {most}, and it is \
             fixed for this cluster's life. Ask for fewer, or build a new cluster."
        ),
        Blocked::MissingNodes { have, needed } => format!(
            "The wanted shape needs {needed} nodes, and of those that are registered {have} can \
             be used: alive, and not leaving. Start {} more, or ask for fewer copies.",
            needed.saturating_sub(*have)
        ),
        Blocked::MasterDown { partition } => of_missing_master(*partition),
        Blocked::LeavingMaster { partition, node } => format!(
            "{node} is to be stopped and is still the master of partition {partition}: stopped \
             now, it would take the partition away. It is handed over as soon as an active slave \
             can take it and all nodes have the present map."
        ),
        Blocked::OneZone { partition, zone } => format!(
            "All copies of partition {partition} lie in zone {zone}: its loss takes them all. \
             Nothing is moved by itself for that. Have a free node in another zone, then tell one \
             of the copies to leave, and to stay again once it holds nothing any more."
        ),
        Blocked::MayHoldData { node } => format!(
            "{node} may hold the only copy of some keys, so that it is not emptied and gets no \
             role. Look at what it holds; when it may go, empty it by hand (flush_all)."
        ),
        Blocked::CameBackEmpty { partition, node, best } => of_empty_return(*partition, node, best),
        Blocked::CopyStalled { node } => format!(
            "{node} copies its data, and no item has come to it for {} minutes. Its role is given \
             to another node, or to it again once it has ended; if it does not end, restart it.",
            COPY_STALL_MILLIS / 60_000
        ),
        Blocked::NeedsRestart { node } => format!(
            "{node} copies as a new partition's master, and its process has failed to do so \
             before. A flared may never say then that its copy is complete, and the cluster does \
             not grow: restart it. No other free node was there to take."
        ),
        Blocked::MapNotTaken { node } => format!(
            "{node} answers pings and does not take the node map in, so that it works by an old \
             one: its clients may be sent to the wrong nodes. Look into its log; if nothing is \
             seen there, restart it."
        ),
        Blocked::Flapping { node, deaths } => format!(
            "{node} has died {deaths} times in a short while: it gets no role for some time, \
             longer after each death. Find out why it dies; stop it until then."
        ),
        Blocked::VersionJump { node, shown } => format!(
            "{node} shows map version {shown}, too far above ours to be true. Find out what else \
             gave it a map (a second index?), and restart that node."
        ),
    }
}

/// What a person can do for a partition without a master.
fn of_missing_master(partition: i32) -> String {
    format!(
        "Partition {partition} has no master: it is down and no active slave can take over. \
         Its keys can be neither read nor written until the old master is back; start that \
         node again with its data, also if it runs and answers pings with `storage error`: \
         then it serves until a write meets what is damaged, so have another node make a copy \
         at once (spec.replicas). Is its data lost for good? Then choose a copy to go on with, \
         by the evidence that `flare-operator status` lists: flare-operator recover \
         {partition} --from NAME:PORT."
    )
}

/// What a person is asked when a master came back without its data.
fn of_empty_return(partition: i32, node: &NodeKey, best: &Option<NodeKey>) -> String {
    let choice = match best {
        Some(best) => format!(
            "or go on with the best copy that is left, which must not take over by itself \
             (spec.promoteLapsed is false, or it is going to be stopped): \
             flare-operator recover {partition} --from {best}"
        ),
        None => format!(
            "or bring back the nodes that do not answer: a copy takes over when all of them are \
             seen and it is clearly the best. Else choose one, by the evidence that \
             `flare-operator status` lists: flare-operator recover {partition} --from NAME:PORT, \
             where {node} itself goes on with nothing"
        ),
    };
    format!(
        "{node}, the master of partition {partition}, came back without its data, while other \
         nodes may hold what is left of it. Start it with its data again, {choice}."
    )
}

/// What speaks for a node's copy, and what against it.
pub(super) fn of_candidate(candidate: &Candidate) -> String {
    let against = candidate.lapse.as_ref().map_or("a whole copy".to_owned(), of_lapse);
    match candidate.items {
        Some(_) => against,
        None => format!("what it holds is not known now; {against}"),
    }
}

/// Why a change was not made.
pub(super) fn of_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownNode => "there is no such node".to_owned(),
        Refusal::AlreadyRegistered => "the node is registered and not down".to_owned(),
        Refusal::NameTaken => "a living node has this name".to_owned(),
        Refusal::NodeDown => "the node is down".to_owned(),
        Refusal::NotDown => "the node is not down: only a node that is down can be forgotten, \
                             so stop it first"
            .to_owned(),
        Refusal::Transition => "its role and state do not allow that".to_owned(),
        Refusal::Partition => "that partition is not the next one and not lost, or it has no \
                               living master"
            .to_owned(),
        Refusal::Balance => "nobody of the partition would be read from".to_owned(),
        Refusal::LastCopy => "the node is the last one that may hold its partition's data; start \
                              it again instead"
            .to_owned(),
        Refusal::MayBeLeft { partition } => format!(
            "it may hold the only copy that is left of partition {partition}, which has no master. \
             Start it again; or have the partition go on with another copy (flare-operator \
             recover), and then forget it"
        ),
        Refusal::NotAllowed => "in automatic mode only the node itself may ask for that".to_owned(),
        Refusal::OnlyAutomatic => "only an index that assigns by a manifest does that. By hand, \
                                   move a master with `flare-operator switchover`, and replace \
                                   one that is down with `node role`"
            .to_owned(),
        Refusal::Listed => "the manifest has the node leave: take it off the list there".to_owned(),
        Refusal::StillMaster => "it is noted as leaving, but nobody could take its partition over \
                                 yet; do not stop it, and ask again"
            .to_owned(),
        Refusal::NoSuccessor => "no active slave could take over: none of that partition, or not \
                                 the one that was named, answers, stays and has not lapsed \
                                 (flare-operator status)"
            .to_owned(),
        Refusal::NotLost => "nothing is to be recovered: the partition has a master that serves, \
                             or that is back with its data and is about to, or there is no such \
                             partition"
            .to_owned(),
        Refusal::NoCopy(why) => format!("its copy cannot take over: {why}"),
        Refusal::BreakerOpen => "the circuit breaker is open: too many nodes are dead, or were a \
                                 moment ago. Bring them back and wait for some seconds, or close \
                                 it (flare-operator breaker reset), and ask again"
            .to_owned(),
        Refusal::Busy => "another change of roles is under way, or a node has not taken the \
                          present map in yet; ask again when that is over"
            .to_owned(),
        Refusal::TakenBack(why) => format!("it was begun, and taken back: {why}"),
        Refusal::Stale => "the node changed meanwhile; look again".to_owned(),
        Refusal::Limit(name) => format!("a limit is reached: {name}"),
        Refusal::Invariant(what) => format!("it would break a rule: {what}"),
        Refusal::Store(failure) => failure.to_string(),
        Refusal::StoodDown => "this index does not decide any more".to_owned(),
    }
}

/// What is known against a copy, and since when.
pub(super) fn of_lapse(lapse: &Lapse) -> String {
    let seconds = lapse.since_unix_seconds.and_then(|seconds| i64::try_from(seconds).ok());
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(since) => format!("{lapse}, from {since} on"),
        None => lapse.to_string(),
    }
}

/// One line about an event.
pub(super) fn of_event(event: &Event) -> String {
    match event {
        Event::NodeChanged { node, from, to, why, .. } => match (from, to) {
            (None, Some(to)) => format!("{node} is new: {to} ({why})"),
            (Some(from), None) => format!("{node} was forgotten, it was {from} ({why})"),
            (Some(from), Some(to)) => format!("{node}: {from} \u{2192} {to} ({why})"),
            (None, None) => format!("{node}: {why}"),
        },
        Event::VersionRaised { node, shown, version } => {
            format!("{node} showed map version {shown}; ours goes on at {version}")
        }
        Event::Blocked(blocked) => of_blocked(blocked),
        Event::Unblocked(blocked) => format!("No longer so: {}", of_blocked(blocked)),
        Event::InvariantBroken { what } => {
            format!("A step would have broken a rule and was refused, a bug of ours: {what}")
        }
        Event::OrderRefused { order, refusal } => {
            format!("Refused: {order}: {}", of_refusal(refusal))
        }
        Event::StoreFailed { failure } => {
            format!("Changes were refused, the old map stays in force: {failure}")
        }
        Event::BreakerChanged { open: true, assigned, dead } => format!(
            "The circuit breaker opened: {dead} of {assigned} nodes are dead; nothing is failed \
             over or assigned, nodes serve with the last map"
        ),
        Event::BreakerChanged { open: false, assigned, dead } => {
            format!("The circuit breaker closed: {dead} of {assigned} nodes are dead")
        }
        Event::Leaving { node, leaves: true } => {
            format!("{node} is going to be stopped: it gets no role, and hands over what it has")
        }
        Event::Leaving { node, leaves: false } => format!("{node} stays after all"),
        Event::Handover { partition, what } => format!("Handover of partition {partition}: {what}"),
        Event::CopyChosen { node, partition, lapse: None, .. } => {
            format!("A person has partition {partition} go on with {node} as it is")
        }
        Event::CopyChosen { node, partition, lapse: Some(lapse), by_person } => format!(
            "Partition {partition} goes on with the copy of {node}, {}: {}",
            if *by_person { "as a person chose" } else { "the best that is left" },
            of_lapse(lapse)
        ),
        Event::Lapsed { node, partition, lapse } => format!(
            "{node} may lack writes of partition {partition}: {}. It is copied again by itself, \
             and takes nothing over before",
            of_lapse(lapse)
        ),
        Event::LapsedPromoted { node, partition, lapse } => format!(
            "{node} became the master of partition {partition} though it may lack writes, since no \
             other copy is left: {}",
            of_lapse(lapse)
        ),
        Event::Warned { what } => format!("Done as flarei does it, though it is not safe: {what}"),
        Event::NodeEmptied { node } => format!("{node} was emptied before it gets a role"),
        Event::ReportRecovered { node, evidence } => {
            format!("A report of {node} was lost; going on by what it shows: {evidence}")
        }
    }
}
