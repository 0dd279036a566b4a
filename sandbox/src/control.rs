//! The port on which the page's buttons arrive: one line in, one line of JSON out. The contract is
//! that of `flare_actors::admin::sandbox`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use flare_actors::admin::sandbox::{Answer, Order};
use flare_core::model::NodeKey;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The longest order, in bytes.
const ORDER_BYTES_MAX: u64 = 1024;

/// How long an order may take to arrive.
const ORDER_DEADLINE: Duration = Duration::from_secs(5);

/// Orders that wait while one is carried out; a person presses no more buttons than that.
const ORDERS_MAX: usize = 16;

/// An order, and where its answer goes.
pub(crate) type Asked = (Order, oneshot::Sender<Answer>);

/// Listens on a free loopback port: its address, and the orders as they come.
pub(crate) async fn listen() -> Result<(SocketAddr, mpsc::Receiver<Asked>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("cannot listen for the page's orders")?;
    let address = listener.local_addr()?;
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let orders = orders.clone();
            spawn_local(async move {
                // Whoever asked and went away is not told.
                let _ = serve(stream, orders).await;
            });
        }
    });
    Ok((address, inbox))
}

async fn serve(mut stream: TcpStream, orders: mpsc::Sender<Asked>) -> Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(ORDER_BYTES_MAX));
    timeout(ORDER_DEADLINE, read.read_line(&mut line)).await??;
    let answer = match parse(line.trim_end()) {
        Err(error) => Answer::Failed { error },
        Ok(order) => {
            let (sender, answer) = oneshot::channel();
            orders.send((order, sender)).await?;
            answer.await?
        }
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    Ok(write.write_all(&line).await?)
}

fn parse(line: &str) -> Result<Order, String> {
    let (word, node) = line.split_once(' ').unwrap_or((line, ""));
    let node = NodeKey::parse(node).ok_or_else(|| format!("`{line}` names no node"));
    match word {
        "nodes" => Ok(Order::Nodes),
        "add" => Ok(Order::Add),
        "kill" => node.map(Order::Kill),
        "freeze" => node.map(Order::Freeze),
        "revive" => node.map(Order::Revive),
        _ => Err(format!("`{line}` is not nodes, kill, freeze, revive or add")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_that_the_index_writes_is_understood() {
        let node = NodeKey::new("127.0.0.1", 12121);
        for order in [
            Order::Nodes,
            Order::Kill(node.clone()),
            Order::Freeze(node.clone()),
            Order::Revive(node),
            Order::Add,
        ] {
            assert_eq!(parse(&order.to_string()), Ok(order));
        }
    }

    #[test]
    fn what_is_not_an_order_is_answered_with_a_sentence() {
        assert!(parse("kill").unwrap_err().contains("names no node"));
        assert!(parse("explode 127.0.0.1:1").unwrap_err().contains("is not nodes, kill"));
    }
}
