//! Questions about the committed map, the links and the events: they change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Context, Handler, MessageResult, ResponseFuture};
use bytes::Bytes;
use flare_core::protocol::command::StatsNodes;
use flare_core::topology::Mode;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::{
    GetLinks, GetStatsNodes, KillLink, Killed, Published, TopologyActor, WatchTopology, storing,
};
use crate::link::{GetFacts, LinkFacts, ReopenLink};
use crate::overview::{EventStream, GetOverview, Overview, SubscribeEvents};

impl Handler<GetStatsNodes> for TopologyActor {
    type Result = MessageResult<GetStatsNodes>;

    fn handle(&mut self, _: GetStatsNodes, _: &mut Context<Self>) -> Self::Result {
        let known = self.published.borrow().stats_nodes.clone();
        MessageResult(known.unwrap_or_else(|| self.encode_stats_nodes()))
    }
}

impl TopologyActor {
    /// Encodes the body for all who ask in this version; nobody is woken by it.
    fn encode_stats_nodes(&mut self) -> Bytes {
        let body = StatsNodes::encode(self.published.borrow().snapshot.entries());
        self.published.send_if_modified(|published| {
            published.stats_nodes = Some(body.clone());
            false
        });
        body
    }
}

impl Handler<WatchTopology> for TopologyActor {
    type Result = MessageResult<WatchTopology>;

    fn handle(&mut self, _: WatchTopology, _: &mut Context<Self>) -> Self::Result {
        let watch: watch::Receiver<Published> = self.published.subscribe();
        MessageResult(watch)
    }
}

impl Handler<GetOverview> for TopologyActor {
    type Result = MessageResult<GetOverview>;

    fn handle(&mut self, _: GetOverview, _: &mut Context<Self>) -> Self::Result {
        let snapshot = Arc::clone(&self.published.borrow().snapshot);
        let facts: BTreeMap<_, _> = snapshot
            .entries()
            .filter_map(|(node, _)| Some((node.clone(), self.topology.facts(node)?.clone())))
            .collect();
        let store_waits = self.store_waits();
        let troubles = [
            self.invariant_trouble.clone(),
            self.store_trouble.clone(),
            storing::hang(store_waits),
        ];
        MessageResult(Overview {
            cluster: Arc::clone(&self.cluster),
            mode: self.mode,
            snapshot,
            facts,
            blocked: self.topology.blocked().clone(),
            troubles: troubles.into_iter().flatten().collect(),
            store_waits,
        })
    }
}

impl Handler<GetLinks> for TopologyActor {
    type Result = ResponseFuture<Vec<LinkFacts>>;

    fn handle(&mut self, _: GetLinks, _: &mut Context<Self>) -> Self::Result {
        let asked: Vec<_> = self.links.values().map(|link| link.addr.send(GetFacts)).collect();
        // A link answers at once or is gone.
        Box::pin(async move { join_all(asked).await.into_iter().flatten().collect() })
    }
}

impl Handler<KillLink> for TopologyActor {
    type Result = MessageResult<KillLink>;

    fn handle(&mut self, KillLink { thread }: KillLink, _: &mut Context<Self>) -> Self::Result {
        let found = self.links.values().find(|link| link.thread == thread);
        MessageResult(match (found, self.mode) {
            (None, _) => Killed::Unknown,
            (Some(_), Mode::Automatic(_)) => Killed::Refused,
            (Some(link), Mode::Manual) => {
                link.addr.do_send(ReopenLink);
                Killed::Ended
            }
        })
    }
}

impl Handler<SubscribeEvents> for TopologyActor {
    type Result = MessageResult<SubscribeEvents>;

    fn handle(&mut self, _: SubscribeEvents, _: &mut Context<Self>) -> Self::Result {
        let recent = self.recent_events.iter().cloned().collect();
        MessageResult(EventStream { recent, next: self.events.subscribe() })
    }
}
