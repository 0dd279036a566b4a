//! A node's life on its own thread: listen, register, serve, stop (flare-protocol.md 6.1, 6.5).

use std::cell::{Cell, RefCell};
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout_at};

use super::clock::unix_seconds;
use super::cluster::Cluster;
use super::config::{DataStore, NodeConfig};
use super::core::Node;
use super::counters::Counters;
use super::faults::{Fault, Faults, Report};
use super::links::Links;
use super::replication::ClusterReplication;
use super::settings::Settings;
use super::storage::Storage;
use super::threads::{Threads, kind};
use super::{StartError, index, server};

/// How long a stopping node waits for its copies to end (flare-protocol.md 6.5).
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often a stopping node looks whether they have.
const STOP_POLL: Duration = Duration::from_millis(5);

/// What a handle tells its node.
#[derive(Debug)]
pub(crate) enum Order {
    Fault(Fault),
    /// SIGHUP.
    Reload(oneshot::Sender<Result<(), String>>),
    /// SIGTERM.
    Stop,
    /// SIGKILL.
    Kill,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with the status that the process would have.
    Status(u8),
    /// Without a word, as if by SIGKILL.
    Killed,
}

/// What a node says when it is up.
pub(crate) type Ready = oneshot::Sender<Result<SocketAddrV4, StartError>>;

/// Runs a node to its end.
pub(crate) async fn run(
    config: NodeConfig,
    mut orders: mpsc::UnboundedReceiver<Order>,
    ready: Ready,
) -> Exit {
    let faults = Rc::new(Faults::default());
    let (node, listener, address) = {
        let starting = start(&config, &faults);
        tokio::pin!(starting);
        loop {
            tokio::select! {
                started = &mut starting => match started {
                    Ok(started) => break started,
                    Err(error) => {
                        let status = error.exit_status();
                        tracing::error!(%error, "start failed");
                        let _ = ready.send(Err(error));
                        return Exit::Status(status);
                    }
                },
                order = orders.recv() => match order {
                    Some(Order::Fault(fault)) => faults.apply(fault),
                    Some(Order::Reload(done)) => drop(done.send(Err("still starting".into()))),
                    // nothing to report yet
                    Some(Order::Stop) => return Exit::Status(0),
                    Some(Order::Kill) | None => return Exit::Killed,
                },
            }
        }
    };
    ClusterReplication::configure(&node);
    let accepting = spawn_local(server::accept(Rc::clone(&node), listener, address));
    // whoever started it may not care
    let _ = ready.send(Ok(address));
    loop {
        match orders.recv().await {
            Some(Order::Fault(fault)) => befall(&node, fault),
            Some(Order::Reload(done)) => drop(done.send(reload(&node, &config))),
            Some(Order::Stop) => {
                accepting.abort();
                stop(&node).await;
                config.pid_path.as_deref().into_iter().for_each(super::pid_file::remove);
                return Exit::Status(0);
            }
            Some(Order::Kill) | None => return Exit::Killed,
        }
    }
}

fn befall(node: &Node, fault: Fault) {
    match fault {
        Fault::FallSick => node.storage.borrow_mut().fall_sick(),
        Fault::Damage(key) => {
            if let Err(error) = node.storage.borrow_mut().damage(key.into()) {
                tracing::error!(node = node.key, %error, "not damaged");
            }
        }
        fault => node.faults.apply(fault),
    }
}

/// Listens, registers, opens the storage.
async fn start(
    config: &NodeConfig,
    faults: &Rc<Faults>,
) -> Result<(Rc<Node>, TcpListener, SocketAddrV4), StartError> {
    config.settings.check()?;
    let host = config.server_name();
    let ip = match config.listen {
        Some(ip) => ip,
        None => server::listen_address(&host).await,
    };
    let backlog = u32::try_from(config.settings.number("back-log")).unwrap_or(u32::MAX);
    let wanted = SocketAddrV4::new(ip, config.server_port());
    let cannot = |source| StartError::Listen { address: wanted, source };
    let listener = server::listen(wanted, backlog).map_err(cannot)?;
    let port = listener.local_addr().map_err(cannot)?.port();
    let servers = config.settings.index_servers();
    let limit = config.settings.net_read_timeout();
    let (nodes, meta) = index::register(&servers, limit, &host, port).await?;
    let directory = match &config.data {
        DataStore::Memory => None,
        DataStore::Directory(path) => Some(path.as_path()),
    };
    let tombstones = config.settings.number("storage-cache-size");
    let storage = Storage::open(directory, usize::try_from(tombstones).unwrap_or(usize::MAX))
        .map_err(|error| StartError::Storage(error.to_string()))?;
    if let Some(path) = &config.pid_path {
        super::pid_file::write(path)?;
    }
    let key = format!("{host}:{port}");
    let node = Rc::new(Node {
        cluster: RefCell::new(Cluster::new(key.clone(), meta, nodes)),
        key,
        host,
        port,
        settings: RefCell::new(config.settings.clone()),
        config_path: path_text(config.config_path.as_deref()),
        pid_path: path_text(config.pid_path.as_deref()),
        storage: RefCell::new(storage),
        counters: Counters::default(),
        threads: Rc::new(Threads::default()),
        links: Links::default(),
        replication: ClusterReplication::default(),
        faults: Rc::clone(faults),
        outstanding_sources: Cell::new(0),
        started: unix_seconds(),
    });
    Ok((node, listener, SocketAddrV4::new(ip, port)))
}

fn path_text(path: Option<&std::path::Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// SIGHUP: only the file is read, and it must say where the index is (Q20).
fn reload(node: &Rc<Node>, config: &NodeConfig) -> Result<(), String> {
    let path = config.config_path.as_deref().ok_or("started without a configuration file")?;
    let file = Settings::read(path).map_err(|error| error.to_string())?;
    if file.index_servers().is_empty() {
        return Err("the file names no index server".to_owned());
    }
    node.settings.borrow_mut().reload(&file);
    ClusterReplication::configure(node);
    tracing::info!(node = node.key, "process successfully reloaded");
    Ok(())
}

/// Reports, then ends the copies, each of which reports in its turn.
async fn stop(node: &Rc<Node>) {
    index::report(node, Report::Shutdown).await;
    for thread in node.threads.of(kind::RECONSTRUCTION) {
        thread.stop.cancel();
    }
    let copies_ended = async {
        while node.threads.count_of(kind::RECONSTRUCTION) > 0 {
            sleep(STOP_POLL).await;
        }
    };
    // whatever is left after the limit ends with the process
    let _ = timeout_at(Instant::now() + STOP_LIMIT, copies_ended).await;
}
