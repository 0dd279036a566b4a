//! The admin interface over real sockets, with a probe behind it.

mod orders;
mod probe;
mod reads;
mod recovery;
mod scrape;
mod stream;

use std::net::SocketAddr;

use actix::Addr;
use flare_actors::admin::{self, Options};
use probe::Probe;

/// Runs a test on the kind of runtime that the index has: one thread, no actix `System`.
fn with_admin<F, Test>(probe: Probe, change: impl FnOnce(&mut Options), test: F)
where
    F: FnOnce(SocketAddr, Addr<Probe>) -> Test,
    Test: Future<Output = ()>,
{
    on_one_thread(async {
        let (addr, sources) = probe.start_as_sources();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Options { listen, sources, log: None, manifest: None, sandbox: None };
        change(&mut options);
        let running = admin::start(options).expect("a free port can be listened on");
        let (address, handle) = (running.address, running.handle());
        let server = tokio::task::spawn_local(running.server);
        test(address, addr).await;
        handle.stop(true).await;
        server.await.expect("the server does not panic").expect("the server stops in order");
    });
}

fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
