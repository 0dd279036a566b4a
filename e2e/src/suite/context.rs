//! What a test is given: the programs under test, a scratch folder of its own, ports, and the
//! ways to start an index and nodes from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::index::{Assign, Index, IndexProgram, Manifest};
use super::node::{Node, NodeProgram};
use super::ports::Ports;
use super::runner::skip;

/// What all tests of a run share.
#[derive(Debug)]
pub struct Env {
    /// The index under test.
    pub index: IndexProgram,
    /// The nodes under test.
    pub nodes: NodeProgram,
    /// Ports that are free.
    pub ports: Ports,
}

/// What one test owns.
#[derive(Debug, Clone)]
pub struct Context {
    name: &'static str,
    env: Arc<Env>,
    scratch: PathBuf,
}

impl Context {
    /// A test's context; the scratch folder must exist.
    pub fn new(name: &'static str, env: Arc<Env>, scratch: PathBuf) -> Self {
        Self { name, env, scratch }
    }

    /// The test's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The programs and ports.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The test's own folder: logs, data, configuration.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// An index that assigns towards `manifest`, not yet started. Ends the test as skipped if
    /// the index under test is flarei, which assigns nothing.
    pub fn auto_index(&self, manifest: Manifest) -> Result<Index> {
        self.require_ours()?;
        self.index(Assign::Auto(manifest))
    }

    /// Ends the test as skipped if the index under test is flarei.
    pub fn require_ours(&self) -> Result<()> {
        match self.env.index {
            IndexProgram::Ours(_) => Ok(()),
            IndexProgram::Flarei(_) => skip("flarei has nothing like it"),
        }
    }

    /// An index that does what it is told, not yet started.
    pub fn manual_index(&self) -> Result<Index> {
        self.index(Assign::Manual)
    }

    /// A second index that does what it is told, with data and logs in a folder of this name.
    pub fn other_index(&self, folder: &str) -> Result<Index> {
        let folder = self.scratch.join(folder);
        std::fs::create_dir_all(&folder)?;
        Index::new(self.env.index.clone(), Assign::Manual, self.env.ports.take()?, &folder)
    }

    fn index(&self, assign: Assign) -> Result<Index> {
        Index::new(self.env.index.clone(), assign, self.env.ports.take()?, &self.scratch)
    }

    /// A node of `index`, not yet started. `label` must be unique in the test.
    pub fn node(&self, label: &str, index: &Index) -> Result<Node> {
        let port = self.env.ports.take()?;
        Node::new(self.env.nodes.clone(), label, index.addr(), port, &self.scratch)
    }

    /// Nodes `n0`, `n1`, … with ascending ports, so that the order of keys is theirs.
    pub fn nodes(&self, count: usize, index: &Index) -> Result<Vec<Node>> {
        let mut ports = (0..count).map(|_| self.env.ports.take()).collect::<Result<Vec<_>>>()?;
        ports.sort_unstable();
        let nodes = ports.into_iter().enumerate().map(|(i, port)| {
            let program = self.env.nodes.clone();
            Node::new(program, &format!("n{i}"), index.addr(), port, &self.scratch)
        });
        nodes.collect()
    }
}
