//! `show variables`: the settings that are in force.
//!
//! ```text
//! show SP variables [anything]
//! -> <name>:<spaces><value> (19 lines, values from column 27 on)
//!    END
//! ```
//!
//! Tools split the lines at the colon and the spaces; one name fills the column
//! (flare-protocol.md 3.8).

use std::fmt::Display;

use crate::model::HashSettings;
use crate::protocol::encode::put;
use crate::protocol::request::Rejected;
use crate::protocol::words::{LONG_WORD_MAX, Malformed, Words};

/// The width of a name with its colon; the value comes right behind it.
const NAME_WIDTH: usize = 26;

/// The body takes about this much.
const ENCODED_BYTES: usize = 1024;

/// `show variables`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShowVariables;

impl ShowVariables {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        match words.word(LONG_WORD_MAX) {
            b"" => Err(Malformed::Missing("thing to show").into()),
            b"variables" => Ok(Self),
            _ => Err(Malformed::Word("thing to show").into()),
        }
    }
}

/// The settings that `show variables` tells; those that mean nothing here show upstream's default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Variables {
    /// The configuration file (`--flarei-conf`); empty without one.
    pub config_path: String,
    /// The pid file; empty without one.
    pub pid_path: String,
    /// In the background?
    pub daemonize: bool,
    /// Where the map is stored.
    pub data_dir: String,
    /// The most client connections at a time.
    pub max_connection: u64,
    /// Failures in a row before a node is held dead.
    pub monitor_threshold: u64,
    /// Seconds between pings.
    pub monitor_interval: u64,
    /// Milliseconds to wait for the answer to a ping.
    pub monitor_read_timeout: u64,
    /// Seconds to wait for other answers.
    pub net_read_timeout: u64,
    /// How keys are placed.
    pub hash: HashSettings,
    /// The name that nodes know the index by.
    pub server_name: String,
    /// The port that nodes know the index by.
    pub server_port: u16,
    /// A Unix socket beside the port; empty without one.
    pub server_socket: String,
    /// KiB per thread.
    pub stack_size: u64,
    /// Parked threads.
    pub thread_pool_size: u64,
}

impl Variables {
    /// All lines and `END`.
    pub fn encode(&self) -> Vec<u8> {
        let mut lines = String::with_capacity(ENCODED_BYTES);
        let mut variable = |name: &str, value: &dyn Display| {
            let name = format_args!("{name}:").to_string();
            put(&mut lines, format_args!("{name:NAME_WIDTH$}{value}\r\n"));
        };
        variable("config_path", &self.config_path);
        variable("pid_path", &self.pid_path);
        variable("daemonize", &self.daemonize);
        variable("data_dir", &self.data_dir);
        variable("max_connection", &self.max_connection);
        variable("monitor_threshold", &self.monitor_threshold);
        variable("monitor_interval", &self.monitor_interval);
        variable("monitor_read_timeout", &self.monitor_read_timeout);
        variable("net_read_timeout", &self.net_read_timeout);
        variable("partition_modular_hint", &self.hash.modular_hint);
        variable("partition_modular_virtual", &self.hash.modular_virtual);
        variable("partition_size", &self.hash.partition_size);
        variable("partition_type", &"modular");
        variable("key_hash_algorithm", &self.hash.algorithm.word());
        variable("server_name", &self.server_name);
        variable("server_port", &self.server_port);
        variable("server_socket", &self.server_socket);
        variable("stack_size", &self.stack_size);
        variable("thread_pool_size", &self.thread_pool_size);
        lines.push_str("END\r\n");
        lines.into_bytes()
    }
}
