//! The flags, and what is wrong with them, in a sentence.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use flare_e2e::suite::ports::Ports;

/// More processes than this do not fit on a laptop, nor on a page.
pub(crate) const NODES_MAX: u16 = 64;

/// An index, data nodes and a page that shows them, on this machine only.
#[derive(Debug, Clone, Parser)]
#[command(name = "flare-sandbox", version)]
pub(crate) struct Settings {
    /// Partitions that the keys are spread over
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) partitions: u16,
    /// Copies of each partition, the master included
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) replicas: u16,
    /// Data nodes [default: partitions × replicas]; those beyond that are proxies
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    pub(crate) nodes: Option<u16>,
    /// Run this flared, upstream's, instead of the stand-in
    #[arg(long, value_name = "PATH")]
    pub(crate) real_flared: Option<PathBuf>,
    /// Where the index listens; 0 takes a free port
    #[arg(long, default_value_t = 12120, value_name = "PORT")]
    pub(crate) index_port: u16,
    /// Where the page is; 0 takes a free port
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub(crate) page_port: u16,
    /// Where the first node listens, the others on the next ports; 0 takes free ports
    #[arg(long, default_value_t = 12121, value_name = "PORT")]
    pub(crate) node_port: u16,
    /// Do not open the page in a browser
    #[arg(long)]
    pub(crate) no_open: bool,
}

impl Settings {
    /// How many nodes to start; an error if the shape needs more.
    pub(crate) fn node_count(&self) -> Result<u16> {
        let needed = self.partitions * self.replicas;
        let nodes = self.nodes.unwrap_or(needed);
        ensure!(
            nodes >= needed,
            "{} partitions with {} copies each need {needed} nodes, and --nodes says {nodes}",
            self.partitions,
            self.replicas
        );
        ensure!(nodes <= NODES_MAX, "that needs {nodes} nodes; at most {NODES_MAX} fit here");
        Ok(nodes)
    }

    /// Checks everything that can be known before anything is started.
    pub(crate) fn check(&self) -> Result<()> {
        self.node_count()?;
        if let Some(path) = &self.real_flared {
            ensure!(path.is_file(), "there is no program {} (--real-flared)", path.display());
        }
        require_free(self.index_port, "the index", "--index-port")?;
        require_free(self.page_port, "the page", "--page-port")?;
        let given = [self.index_port, self.page_port];
        ensure!(
            given[0] != given[1] || given[0] == 0,
            "--index-port and --page-port are both {}",
            given[0]
        );
        Ok(())
    }
}

/// Hands out the ports of nodes: the wanted ones in a row, or any that are free.
pub(crate) struct NodePorts {
    next: u16,
    free: Ports,
}

impl NodePorts {
    /// From `first` on; 0 means anywhere.
    pub(crate) fn new(first: u16) -> Self {
        Self { next: first, free: Ports::new() }
    }

    /// The port of the next node. At the start it must be the next in a row, so that what is
    /// printed is what was asked for; a node that is added later skips ports that are taken.
    pub(crate) fn take(&mut self, may_skip: bool) -> Result<u16> {
        if self.next == 0 {
            return self.free.take();
        }
        loop {
            let port = self.next;
            self.next = port.checked_add(1).context("there is no port after 65535")?;
            match require_free(port, "a node", "--node-port") {
                Err(_) if may_skip => {}
                Err(taken) => return Err(taken),
                Ok(()) => return Ok(port),
            }
        }
    }
}

/// A sentence if somebody listens on `port`. Another one may still take it right after.
fn require_free(port: u16, who: &str, flag: &str) -> Result<()> {
    // flared listens on all addresses, and so does flarei.
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {port}, meant for {who}, is taken by another program; \
             choose another with {flag}, or {flag} 0 for any that is free"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on port {port} ({flag})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Settings> {
        let all = std::iter::once("flare-sandbox").chain(arguments.iter().copied());
        Ok(Settings::try_parse_from(all)?)
    }

    #[test]
    fn four_nodes_unless_told_otherwise() {
        assert_eq!(parsed(&[]).unwrap().node_count().unwrap(), 4);
        let three = parsed(&["--partitions", "1", "--replicas", "3"]).unwrap();
        assert_eq!(three.node_count().unwrap(), 3);
        assert_eq!(parsed(&["--nodes", "7"]).unwrap().node_count().unwrap(), 7);
    }

    #[test]
    fn a_shape_that_the_nodes_cannot_hold_is_a_sentence() {
        let error = parsed(&["--nodes", "3"]).unwrap().node_count().unwrap_err().to_string();
        assert_eq!(error, "2 partitions with 2 copies each need 4 nodes, and --nodes says 3");
        assert!(parsed(&["--partitions", "32", "--replicas", "8"]).unwrap().node_count().is_err());
        assert!(parsed(&["--partitions", "0"]).is_err());
    }

    #[test]
    fn a_taken_port_is_a_sentence_that_names_the_flag() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let flag = ["--index-port", &port.to_string(), "--page-port", "0"];
        let error = parsed(&flag).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--index-port 0"), "{error}");
    }

    #[test]
    fn only_a_node_that_is_added_later_skips_a_taken_port() {
        let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        assert!(NodePorts::new(port).take(false).is_err());
        assert!(NodePorts::new(port).take(true).unwrap() > port);
    }

    #[test]
    fn a_flared_that_is_not_there_is_a_sentence() {
        let settings = parsed(&["--real-flared", "/nowhere/flared"]).unwrap();
        assert!(settings.check().unwrap_err().to_string().contains("/nowhere/flared"));
    }
}
