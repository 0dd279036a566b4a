//! How a stand-in is started: flared's own settings, and the few things that are not flared's.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::settings::{Settings, SettingsError};

/// Where a node keeps its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataStore {
    /// Gone with the process.
    Memory,
    /// In a file of this directory, which must exist.
    Directory(PathBuf),
}

/// Everything that a node needs to start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// flared's settings.
    pub settings: Settings,
    /// Where entries are kept, whatever `data-dir` says.
    pub data: DataStore,
    /// The address to listen on; by default the server name's if that is a loopback address, else
    /// all.
    pub listen: Option<Ipv4Addr>,
    /// Read again on a reload.
    pub config_path: Option<PathBuf>,
    /// Written at the end of the start.
    pub pid_path: Option<PathBuf>,
}

impl NodeConfig {
    /// A node with its data in memory, default settings otherwise. Port 0 takes a free one, which
    /// becomes part of its identity.
    pub fn new(server_name: &str, server_port: u16, index_server: &str) -> Self {
        let given = [
            ("server-name", server_name.to_owned()),
            ("server-port", server_port.to_string()),
            ("index-servers", index_server.to_owned()),
            ("data-dir", "memory".to_owned()),
        ];
        let mut settings = Settings::default();
        for (key, value) in given {
            settings.set(key, &value).expect("these keys take any text or number");
        }
        Self { settings, data: DataStore::Memory, listen: None, config_path: None, pid_path: None }
    }

    /// Changes one of flared's settings.
    pub fn with(mut self, key: &str, value: &str) -> Result<Self, SettingsError> {
        self.settings.set(key, value)?;
        Ok(self)
    }

    /// Keeps the entries in a directory.
    pub fn on_disk(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = DataStore::Directory(directory.into());
        self
    }

    /// The node's name; by default the machine's, as upstream does.
    pub(crate) fn server_name(&self) -> String {
        match self.settings.text("server-name") {
            "" => machine_name(),
            name => name.to_owned(),
        }
    }

    pub(crate) fn server_port(&self) -> u16 {
        u16::try_from(self.settings.number("server-port")).unwrap_or(0)
    }
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
