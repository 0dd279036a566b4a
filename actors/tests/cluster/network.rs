//! A network of pipes: nodes listen on ports of it, the index accepts from it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flare_actors::net::{Listener, NetFuture, Network, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

/// What a pipe holds before its writer has to wait.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// Ports that somebody listens on.
#[derive(Default)]
pub(crate) struct Pipes {
    ports: RefCell<BTreeMap<u16, Port>>,
    names_hang: Cell<bool>,
    for_orders: Cell<usize>,
    looked_up: RefCell<Vec<String>>,
}

enum Port {
    Open(mpsc::UnboundedSender<Box<dyn Stream>>),
    /// Connecting never ends.
    Hanging,
    /// Using the connection panics.
    Mined,
}

impl Pipes {
    /// Listens on `port`.
    pub(crate) fn listen(&self, port: u16) -> mpsc::UnboundedReceiver<Box<dyn Stream>> {
        let (accepted, accept) = mpsc::unbounded_channel();
        self.ports.borrow_mut().insert(port, Port::Open(accepted));
        accept
    }

    /// The names that were looked up.
    pub(crate) fn looked_up(&self) -> Vec<String> {
        self.looked_up.borrow().clone()
    }

    /// How many connections were asked for that forget what they could not deliver.
    pub(crate) fn for_orders(&self) -> usize {
        self.for_orders.get()
    }

    /// From now on `port` refuses.
    pub(crate) fn close(&self, port: u16) {
        self.ports.borrow_mut().remove(&port);
    }

    /// From now on no name is resolved.
    pub(crate) fn hang_names(&self) {
        self.names_hang.set(true);
    }

    /// From now on names are resolved again; the lookups that hang go on hanging.
    pub(crate) fn answer_names(&self) {
        self.names_hang.set(false);
    }

    /// From now on whoever uses a connection to `port` panics.
    pub(crate) fn mine(&self, port: u16) {
        self.ports.borrow_mut().insert(port, Port::Mined);
    }

    /// From now on connecting to `port` takes for ever.
    pub(crate) fn hang(&self, port: u16) {
        self.ports.borrow_mut().insert(port, Port::Hanging);
    }
}

impl Network for Pipes {
    fn connect(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        let refused = || Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        match self.ports.borrow().get(&to.port()) {
            None => refused(),
            Some(Port::Hanging) => Box::pin(std::future::pending()),
            Some(Port::Mined) => {
                Box::pin(std::future::ready(Ok(Box::new(Landmine) as Box<dyn Stream>)))
            }
            Some(Port::Open(accepted)) => {
                let (ours, theirs) = duplex(PIPE_BYTES);
                if accepted.send(Box::new(theirs)).is_err() {
                    return refused();
                }
                Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Stream>)))
            }
        }
    }

    fn connect_to_order(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        self.for_orders.set(self.for_orders.get() + 1);
        self.connect(to)
    }

    fn resolve(&self, name: &str) -> NetFuture<Vec<IpAddr>> {
        if name.parse::<IpAddr>().is_err() {
            self.looked_up.borrow_mut().push(name.to_owned());
        }
        if self.names_hang.get() {
            return Box::pin(std::future::pending());
        }
        let address = name.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Box::pin(std::future::ready(Ok(vec![address])))
    }

    fn address_towards(&self, _: IpAddr) -> io::Result<IpAddr> {
        Ok(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }
}

/// The index port: whatever is sent into it has been accepted.
pub(crate) struct PipeListener {
    incoming: mpsc::UnboundedReceiver<Incoming>,
}

/// A connection, or why there is none.
pub(crate) type Incoming = io::Result<(Box<dyn Stream>, SocketAddr)>;

/// Connects to a [`PipeListener`].
#[derive(Clone)]
pub(crate) struct Dialer {
    outgoing: mpsc::UnboundedSender<Incoming>,
}

/// A listener and the way to it.
pub(crate) fn index_port() -> (PipeListener, Dialer) {
    let (outgoing, incoming) = mpsc::unbounded_channel();
    (PipeListener { incoming }, Dialer { outgoing })
}

impl Dialer {
    /// Opens a connection from `peer`.
    pub(crate) fn dial(&self, peer: &str) -> DuplexStream {
        let (ours, theirs) = duplex(PIPE_BYTES);
        self.send(Ok((Box::new(theirs), peer.parse().expect("an address"))));
        ours
    }

    /// Hands anything to the accept loop.
    pub(crate) fn send(&self, incoming: Incoming) {
        self.outgoing.send(incoming).expect("the index listens");
    }

    /// Has the index stopped to listen?
    pub(crate) fn is_closed(&self) -> bool {
        self.outgoing.is_closed()
    }
}

impl Listener for PipeListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        match ready!(self.incoming.poll_recv(cx)) {
            Some(incoming) => Poll::Ready(incoming),
            None => Poll::Pending,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 12120).into())
    }
}

/// A socket that breaks the actor that reads it.
pub(crate) struct Landmine;

impl AsyncRead for Landmine {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("a bug, made for this test");
    }
}

impl AsyncWrite for Landmine {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
