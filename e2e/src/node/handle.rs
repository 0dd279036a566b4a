//! Starting a node and holding it: the handle that a test keeps.

use std::io;
use std::net::SocketAddrV4;
use std::path::Path;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;

use super::config::{DataStore, NodeConfig};
use super::faults::Fault;
use super::index::RegistrationError;
use super::run::{Exit, Order, Ready, run};
use super::settings::SettingsError;
use super::storage::FILE_NAME;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings make no node.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was to be listened on.
        address: SocketAddrV4,
        /// What the system said.
        source: io::Error,
    },
    /// The index could not be reached or did not accept the node.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The data directory cannot be used.
    #[error("{0}")]
    Storage(String),
    /// The pid file cannot be written, or names a process that is alive.
    #[error("pid file {path}: {reason}")]
    PidFile {
        /// As given.
        path: String,
        /// Why.
        reason: String,
    },
    /// The node was killed before it was up, or its thread could not be made.
    #[error("the node ended before it was up: {0}")]
    Ended(String),
}

impl StartError {
    /// What upstream's process would exit with: always 255.
    pub fn exit_status(&self) -> u8 {
        255
    }
}

/// Starts stand-in nodes.
#[derive(Debug)]
pub struct StandInNode;

impl StandInNode {
    /// Starts a node and returns when it is registered and serves.
    pub async fn start(config: NodeConfig) -> Result<NodeHandle, StartError> {
        let (handle, ready) = Self::spawn(config)?;
        let address = ready.await?;
        Ok(NodeHandle { address: Some(address), ..handle })
    }

    /// Starts a node and returns at once; the second value becomes ready with the node.
    pub fn spawn(
        config: NodeConfig,
    ) -> Result<(NodeHandle, impl Future<Output = Result<SocketAddrV4, StartError>>), StartError>
    {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (ready, started) = oneshot::channel();
        let (ended, exit) = watch::channel(None);
        let name = config.server_name();
        let life = {
            let config = config.clone();
            move || {
                let end = live(config, inbox, ready);
                // here the runtime is gone and with it every socket
                ended.send_replace(Some(end));
            }
        };
        std::thread::Builder::new()
            .name(name)
            .spawn(life)
            .map_err(|error| StartError::Ended(error.to_string()))?;
        let handle = NodeHandle { config, orders, exit, address: None };
        let started = async move {
            match started.await {
                Ok(result) => result,
                Err(_) => Err(StartError::Ended("it was killed".to_owned())),
            }
        };
        Ok((handle, started))
    }
}

/// A node's whole life on this thread.
fn live(config: NodeConfig, inbox: mpsc::UnboundedReceiver<Order>, ready: Ready) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::Ended(error.to_string())));
            return Exit::Status(255);
        }
    };
    let tasks = LocalSet::new();
    let exit = tasks.block_on(&runtime, run(config, inbox, ready));
    drop(tasks);
    exit
}

/// A running node. Dropping the handle kills the node.
#[derive(Debug)]
pub struct NodeHandle {
    config: NodeConfig,
    orders: mpsc::UnboundedSender<Order>,
    exit: watch::Receiver<Option<Exit>>,
    address: Option<SocketAddrV4>,
}

impl NodeHandle {
    /// Notes where a node that was spawned listens.
    pub fn is_up(&mut self, address: SocketAddrV4) {
        self.address = Some(address);
    }

    /// Where it listens; none until it is up.
    pub fn address(&self) -> Option<SocketAddrV4> {
        self.address
    }

    /// `<server name>:<port>`, its identity for the index; with the port asked for until it is up.
    pub fn key(&self) -> String {
        let port = self.address.map_or(self.config.server_port(), |address| address.port());
        format!("{}:{port}", self.config.server_name())
    }

    /// Begins or ends a fault. Nothing happens if the node has ended.
    pub fn fault(&self, fault: Fault) {
        self.order(Order::Fault(fault));
    }

    /// What SIGHUP does: reads the configuration file again. The error says why that failed.
    pub async fn reload(&self) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Reload(done));
        answer.await.unwrap_or_else(|_| Err("the node has ended".to_owned()))
    }

    /// What SIGTERM does; returns when the node has ended.
    pub async fn stop(&self) -> Exit {
        self.order(Order::Stop);
        self.ended().await
    }

    /// What SIGKILL does; returns when every socket is closed.
    pub async fn kill(&self) -> Exit {
        self.order(Order::Kill);
        self.ended().await
    }

    /// How it ended; none while it runs.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for its end, whatever the reason.
    pub async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(Exit::Killed),
            Err(_) => Exit::Killed,
        }
    }

    /// Kills the node if it runs and starts it again under the same identity, with the data that
    /// its process would find: those of its directory, or nothing if `empty` or in memory.
    pub async fn restart(mut self, empty: bool) -> Result<NodeHandle, StartError> {
        self.kill().await;
        // it names this process, which lives; a new process would find that of a dead one
        if let Some(path) = &self.config.pid_path {
            erase(path)?;
        }
        if let (true, DataStore::Directory(path)) = (empty, &self.config.data) {
            erase(&path.join(FILE_NAME))?;
        }
        if let Some(address) = self.address {
            let port = address.port().to_string();
            self.config.settings.set("server-port", &port)?;
        }
        StandInNode::start(self.config.clone()).await
    }

    fn order(&self, order: Order) {
        // a node that has ended takes no orders
        let _ = self.orders.send(order);
    }
}

fn erase(path: &Path) -> Result<(), StartError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StartError::Storage(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
