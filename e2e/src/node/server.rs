//! The listening socket: open before the node registers, accepting after, closed while a fault
//! says so.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::core::Node;
use super::counters::count;
use super::session::Session;
use super::threads::kind;

/// Binds and listens; connections wait in the backlog until [`accept`] runs.
pub(crate) fn listen(address: SocketAddrV4, backlog: u32) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::V4(address))?;
    socket.listen(backlog)
}

/// The address to listen on for a server name: a loopback address if it is one, so that many
/// nodes of one machine can share a port; else all addresses, as upstream always does.
pub(crate) async fn listen_address(host: &str) -> Ipv4Addr {
    let found = tokio::net::lookup_host((host, 0)).await;
    let address = found.ok().and_then(|mut all| all.find_map(|address| ipv4(&address)));
    address.filter(Ipv4Addr::is_loopback).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

fn ipv4(address: &SocketAddr) -> Option<Ipv4Addr> {
    match address {
        SocketAddr::V4(v4) => Some(*v4.ip()),
        SocketAddr::V6(_) => None,
    }
}

/// Accepts until the task is dropped.
pub(crate) async fn accept(node: Rc<Node>, listener: TcpListener, address: SocketAddrV4) {
    let mut refusal = node.faults.refusal();
    let mut listener = Some(listener);
    loop {
        let refuse = *refusal.borrow_and_update();
        if refuse {
            listener = None;
        } else if listener.is_none() {
            let backlog = u32::try_from(node.settings.borrow().number("back-log"));
            match listen(address, backlog.unwrap_or(u32::MAX)) {
                Ok(again) => listener = Some(again),
                Err(error) => tracing::error!(node = node.key, %error, "cannot listen again"),
            }
        }
        match accepted(listener.as_ref(), &mut refusal).await {
            Some(Ok((stream, peer))) => begin(&node, stream, peer),
            Some(Err(error)) => {
                tracing::warn!(node = node.key, %error, "accept failed");
                tokio::task::yield_now().await;
            }
            None => {}
        }
    }
}

/// The next connection; none when the fault changed.
async fn accepted(
    listener: Option<&TcpListener>,
    refusal: &mut watch::Receiver<bool>,
) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    let next = async {
        match listener {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        connection = next => Some(connection),
        _ = refusal.changed() => None,
    }
}

fn begin(node: &Rc<Node>, stream: TcpStream, peer: SocketAddr) {
    let counters = &node.counters;
    count(&counters.total_connections);
    let limit = node.settings.borrow().number("max-connection");
    if node.threads.count_of(kind::REQUEST) as u64 >= limit {
        // closed without a word, as upstream does
        return;
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(node = node.key, %error, "no TCP_NODELAY");
    }
    let thread = node.threads.add(kind::REQUEST, peer.to_string(), None);
    let session = Session::new(Rc::clone(node), thread, stream);
    let node = Rc::clone(node);
    counters.curr_connections.set(counters.curr_connections.get() + 1);
    spawn_local(async move {
        session.run().await;
        let open = &node.counters.curr_connections;
        open.set(open.get() - 1);
    });
}
