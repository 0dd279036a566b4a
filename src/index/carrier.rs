//! Hands what a new manifest says on to the cluster's actors.

use actix::{Actor, Context, Handler, ResponseFuture};
use flare_actors::ask::ask;
use flare_actors::cluster::Cluster;
use flare_actors::manifest::{Manifest, ManifestChanged};
use flare_actors::obituary::{Death, Obituary};
use flare_actors::overview::ANSWER_DEADLINE;
use flare_actors::topology::{ChangeWanted, ListLeaving, TellZones};
use tokio::sync::mpsc;
use tracing::warn;

use crate::settings::{breaking_of, monitoring_of};

/// Carries out what a new manifest says.
pub(super) struct Carrier {
    cluster: Cluster,
    _obituary: Obituary,
}

impl Carrier {
    pub(super) fn new(cluster: Cluster, obituaries: &mpsc::Sender<Death>) -> Self {
        Self { cluster, _obituary: Obituary::to_process(obituaries, "carrier") }
    }

    /// What the manifest says of single nodes. Before the shape, which may give them roles.
    pub(super) fn tell_of_nodes(&self, manifest: &Manifest) {
        let Manifest { leaving, zones, .. } = manifest;
        self.cluster.topology.do_send(ListLeaving { nodes: leaving.clone() });
        self.cluster.topology.do_send(TellZones { zones: zones.clone() });
    }
}

impl Actor for Carrier {
    type Context = Context<Self>;
}

impl Handler<ManifestChanged> for Carrier {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, change: ManifestChanged, _: &mut Context<Self>) -> Self::Result {
        let ManifestChanged { manifest } = change;
        self.cluster.change_monitoring(monitoring_of(&manifest), breaking_of(&manifest));
        self.tell_of_nodes(&manifest);
        let topology = self.cluster.topology.clone().recipient();
        Box::pin(async move {
            let change = ChangeWanted { wanted: manifest.wanted };
            match ask(&topology, change, ANSWER_DEADLINE).await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => warn!(?refusal, "the wanted shape was refused"),
                Err(error) => warn!(%error, "the wanted shape was not taken in"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use clap::Parser;
    use flare_actors::metrics::ClusterMetrics;
    use flare_actors::obituary::End;
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    use super::super::Index;
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::settings::Settings;

    const MANIFEST: &str = "apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\n\
        spec:\n  partitions: 1\n  replicas: 1\n";

    /// An index on scratch files and a free port.
    async fn index(folder: &tempfile::TempDir) -> Index {
        let manifest = folder.path().join("cluster.yaml");
        fs::write(&manifest, MANIFEST).expect("there is room");
        let mut args = vec!["flare-operator".into(), "index".into()];
        args.extend(["--listen", "127.0.0.1:0", "--data-dir"].map(Into::into));
        args.push(folder.path().join("data").into_os_string());
        args.extend(["--cluster".into(), manifest.into_os_string()]);
        let Command::Index(flags) = Cli::parse_from(args).command else { unreachable!() };
        let settings = Settings::gather(*flags).await.expect("the settings are good");
        Index::start(settings, ClusterMetrics::new("test".into())).expect("a free port")
    }

    #[test]
    fn the_end_of_the_carrier_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        LocalSet::new().block_on(&runtime.expect("a runtime can be built"), async {
            let folder = tempfile::tempdir().expect("a folder");
            let mut index = index(&folder).await;
            // An actor that nobody can reach any more ends.
            drop(Carrier::new(index.cluster.clone(), &index.obituaries).start());
            let death = timeout(Duration::from_secs(60), index.deaths.recv()).await;
            assert_eq!(death, Ok(Some(Death { who: "carrier", end: End::Stopped })));
        });
    }
}
