//! What can happen to a node, and how it is undone.

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::cluster::Cluster;
use super::eventually::{PATIENCE, eventually};
use super::network::{Cut, Verdict};
use super::runner::skip;

/// The pause between two bytes of a dripping answer: the four bytes of `OK` with its line end take
/// longer than a ping may take with [`super::index::Manifest::quick`] (500 ms), and none of the
/// bytes does.
const DRIP: Duration = Duration::from_millis(200);

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGTERM: it says good-bye.
    Terminate,
    /// SIGSTOP: connections are accepted by the kernel, and nothing is answered.
    Stop,
    /// Every connection from and to it is reset, and new ones are.
    Reset,
    /// Every packet from and to it vanishes.
    Vanish,
    /// Of every answer half is sent, then the connection is closed.
    Half,
    /// Every answer comes byte by byte, with a pause before each.
    Drip,
}

/// A blow that was struck and not yet undone.
#[derive(Debug)]
pub struct Wound {
    blow: Blow,
    key: String,
    cut: Option<Cut>,
}

impl Blow {
    /// Strikes the node, which takes no part until it is healed.
    pub async fn strike(self, cluster: &mut Cluster, key: &str) -> Result<Wound> {
        let node = cluster.node_mut(key)?;
        let port = node.addr().port();
        let mut cut = None;
        if matches!(self, Self::Half | Self::Drip) && node.is_real() {
            return skip("a real flared does not send its answers in pieces");
        }
        match self {
            Self::Kill => node.kill().await?,
            Self::Terminate => {
                let status = node.terminate().await?;
                if !status.success() {
                    return Err(anyhow!("{key} ended with {status}"));
                }
            }
            Self::Stop => {
                node.freeze()?;
                node.frozen().await?;
            }
            Self::Reset => cut = Some(Cut::around(port, Verdict::Reset)?),
            Self::Vanish => cut = Some(Cut::around(port, Verdict::Vanish)?),
            Self::Half => drop(node.order(&format!("half {}", u32::MAX)).await?),
            Self::Drip => drop(node.order(&format!("drip {}", DRIP.as_millis())).await?),
        }
        node.set_aside(true);
        Ok(Wound { blow: self, key: key.to_owned(), cut })
    }
}

impl Wound {
    /// Undoes it: the node takes part again, with the data that it had.
    pub async fn heal(self, cluster: &mut Cluster) -> Result<()> {
        let node = cluster.node_mut(&self.key)?;
        match self.blow {
            Blow::Kill | Blow::Terminate => node.start().await?,
            Blow::Stop => node.thaw()?,
            Blow::Reset | Blow::Vanish => self.cut.map_or(Ok(()), Cut::heal)?,
            Blow::Half | Blow::Drip => drop(node.order("clear").await?),
        }
        node.set_aside(false);
        // a connection that was cut may need a retransmission before it carries anything
        let node = cluster.node(&self.key)?;
        eventually(PATIENCE, "the node to answer again", || async {
            node.client().await?.command("ping").await
        })
        .await
        .map(drop)
    }
}
