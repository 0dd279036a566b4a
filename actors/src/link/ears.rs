//! Whom links tell what they learn of their nodes.

use actix::{Addr, Recipient};

use crate::topology::{
    ClientsEnded, ConnectionsSeen, LinkEnded, LinkOpened, MapAcknowledged, NodeConnected,
    NodeEmptied, NodeIntroduced, NodeObserved, NodeReached, QueueDrained, TopologyActor,
};

/// The events of links that a topology listens to.
pub struct TopologyEars {
    pub(crate) opened: Recipient<LinkOpened>,
    pub(crate) ended: Recipient<LinkEnded>,
    pub(crate) reached: Recipient<NodeReached>,
    pub(crate) acknowledged: Recipient<MapAcknowledged>,
    pub(crate) observed: Recipient<NodeObserved>,
    pub(crate) emptied: Recipient<NodeEmptied>,
    pub(crate) drained: Recipient<QueueDrained>,
    pub(crate) clients_ended: Recipient<ClientsEnded>,
    pub(crate) connected: Recipient<NodeConnected>,
    pub(crate) introduced: Recipient<NodeIntroduced>,
    pub(crate) connections: Recipient<ConnectionsSeen>,
}

impl From<&Addr<TopologyActor>> for TopologyEars {
    fn from(addr: &Addr<TopologyActor>) -> Self {
        Self {
            opened: addr.clone().recipient(),
            ended: addr.clone().recipient(),
            reached: addr.clone().recipient(),
            acknowledged: addr.clone().recipient(),
            observed: addr.clone().recipient(),
            emptied: addr.clone().recipient(),
            drained: addr.clone().recipient(),
            clients_ended: addr.clone().recipient(),
            connected: addr.clone().recipient(),
            introduced: addr.clone().recipient(),
            connections: addr.clone().recipient(),
        }
    }
}
