//! The network that actors are handed: connect, listen, resolve, and whether an address is ours.
//!
//! [`SystemNetwork`] is the real one. A test hands in its own, so that the shipped actors run over
//! pipes and under paused time. Everything runs on one thread; nothing here is `Send`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel keeps while the accept loop is busy: enough for every node of a
/// large cluster to call at once.
pub const BACKLOG: i32 = 4096;

/// The port of datagrams that are never sent.
const DISCARD: u16 = 9;

/// A future of the network.
pub type NetFuture<T> = Pin<Box<dyn Future<Output = io::Result<T>>>>;

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A socket that listens.
pub trait Listener {
    /// The next connection and the address of its other end.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// Where it listens; the real port if 0 was asked for.
    ///
    /// # Errors
    /// When the system does not tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What actors need of the network.
pub trait Network {
    /// Opens a connection. A refused one fails with `ConnectionRefused`; there is no deadline.
    fn connect(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>>;

    /// As [`Self::connect`], for orders that are dangerous when they come late: what the other side
    /// has not got when the stream is dropped it never gets.
    fn connect_to_order(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>>;

    /// The addresses of a host name, IPv4 only if it has any (flared listens on IPv4 only).
    fn resolve(&self, name: &str) -> NetFuture<Vec<IpAddr>>;

    /// The address of ours from which packets go to `to`: where that host reaches us.
    ///
    /// # Errors
    /// When there is no way to it.
    fn address_towards(&self, to: IpAddr) -> io::Result<IpAddr>;

    /// Is this one of this host's own addresses?
    fn is_local(&self, address: IpAddr) -> bool;
}

/// The network of the host.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNetwork;

impl Network for SystemNetwork {
    fn connect(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        Box::pin(async move { Ok(Box::new(connected(to).await?) as Box<dyn Stream>) })
    }

    fn connect_to_order(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        Box::pin(async move {
            let stream = connected(to).await?;
            // Else the kernel goes on sending for minutes after the stream is gone. Without any
            // lingering it forgets what it has and sends a reset.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn resolve(&self, name: &str) -> NetFuture<Vec<IpAddr>> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Box::pin(std::future::ready(Ok(vec![address])));
        }
        let name = name.to_owned();
        Box::pin(async move {
            let all: Vec<IpAddr> =
                tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect();
            let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
            Ok(if v4.is_empty() { all } else { v4 })
        })
    }

    fn address_towards(&self, to: IpAddr) -> io::Result<IpAddr> {
        // Connecting a datagram socket sends nothing; it only asks for the way.
        let socket = UdpSocket::bind((ANY, 0))?;
        socket.connect((to, DISCARD))?;
        Ok(socket.local_addr()?.ip())
    }

    fn is_local(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if address.is_unspecified() || address.is_multicast() {
            return false;
        }
        address.is_loopback() || is_own(address).is_ok_and(|own| own)
    }
}

async fn connected(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Does this host have this address? Being able to bind it proves nothing where
/// `ip_nonlocal_bind` is set, as it is beside keepalived. Asked is the way from it to itself, for
/// which nothing is sent.
fn is_own(address: IpAddr) -> io::Result<bool> {
    let from = match address {
        // The kernel makes no way from an address that is not its own; without a source it would
        // name the first address of the same network instead.
        IpAddr::V4(_) => address,
        // Here it would make one, but names an own address as its own source.
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect((address, DISCARD))?;
    Ok(socket.local_addr()?.ip() == address)
}

/// Listens on `at`, with [`BACKLOG`].
///
/// # Errors
/// When the address is taken or not ours.
pub fn listen(at: SocketAddr) -> io::Result<Box<dyn Listener>> {
    let domain = socket2::Domain::for_address(at);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // As every server: a restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(Box::new(TcpListener::from_std(socket.into())?))
}

impl Listener for TcpListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        TcpListener::poll_accept(self, cx).map(|accepted| {
            let (stream, peer) = accepted?;
            // Both may fail on a connection that has ended already; its reader will see that.
            let _ = stream.set_nodelay(true);
            let _ = socket2::SockRef::from(&stream).set_keepalive(true);
            Ok((Box::new(stream) as Box<dyn Stream>, unmapped(peer)))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

/// An IPv4 peer on an IPv6 socket, as IPv4.
fn unmapped(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Do both addresses belong to one host, as far as this host can tell? Its own addresses count as
/// each other: a node beside the index may call from 127.0.0.1 though its name means another.
pub fn is_same_host(network: &dyn Network, one: IpAddr, other: IpAddr) -> bool {
    one == other || (network.is_local(one) && network.is_local(other))
}

/// The address to listen on when only a port is given.
pub const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[test]
    fn own_addresses_count_as_each_other() {
        let net = SystemNetwork;
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(is_same_host(&net, ip("127.0.0.1"), ip("127.0.0.9")));
        assert!(is_same_host(&net, ip("192.0.2.1"), ip("192.0.2.1")));
        // TEST-NET-1 is nobody's address.
        assert!(!is_same_host(&net, ip("127.0.0.1"), ip("192.0.2.1")));
    }

    #[test]
    fn a_host_reaches_us_where_our_packets_come_from() {
        let found = SystemNetwork.address_towards("127.0.0.9".parse().unwrap()).unwrap();
        assert!(found.is_loopback(), "{found}");
    }

    /// Sends until the kernel takes no more and drops the stream; how much that was, and what the
    /// other side could read of it afterwards, with how that ended.
    async fn sent_and_read(
        connect: impl FnOnce(SocketAddr) -> NetFuture<Box<dyn Stream>>,
    ) -> (usize, usize, io::Result<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut stream = connect(TcpListener::local_addr(&listener).unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut sent = 0;
        std::future::poll_fn(|cx| {
            while let Poll::Ready(taken) = Pin::new(&mut *stream).poll_write(cx, &[0; 64 << 10]) {
                sent += taken.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        drop(stream);
        let mut read = Vec::new();
        let ended = peer.read_to_end(&mut read).await;
        (sent, read.len(), ended)
    }

    #[tokio::test]
    async fn an_order_that_was_not_delivered_is_forgotten_with_its_connection() {
        let (sent, read, ended) = sent_and_read(|to| SystemNetwork.connect(to)).await;
        assert_eq!((read, ended.unwrap()), (sent, sent), "all comes, though nobody waits for it");
        let (sent, read, ended) = sent_and_read(|to| SystemNetwork.connect_to_order(to)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(read < sent, "{read} of {sent} bytes came");
    }

    #[tokio::test]
    async fn a_number_needs_no_lookup() {
        let found = SystemNetwork.resolve("192.0.2.7").await.unwrap();
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    }
}
