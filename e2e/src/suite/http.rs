//! One HTTP/1.1 request: enough for the admin interface without a client library in the tests.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest answer that is read.
const ANSWER_MAX: u64 = 4 * 1024 * 1024;

/// Fetches `path`; the status and the body, which must not be chunked.
///
/// # Errors
/// No answer within `limit`, or none that is HTTP.
pub async fn get(addr: SocketAddr, path: &str, limit: Duration) -> Result<(u16, String)> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    ask(addr, path, &head, limit).await
}

/// Gives an order to the admin interface: `body` is JSON. The status and the body of the answer.
///
/// # Errors
/// As [`get`].
pub async fn post(
    addr: SocketAddr,
    path: &str,
    body: &str,
    limit: Duration,
) -> Result<(u16, String)> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nX-Flare-Admin: 1\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(addr, path, &request, limit).await
}

async fn ask(
    addr: SocketAddr,
    path: &str,
    request: &str,
    limit: Duration,
) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = timeout(limit, exchange)
        .await
        .map_err(|_| anyhow!("http://{addr}{path} does not answer within {limit:?}"))?
        .with_context(|| format!("http://{addr}{path}"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| anyhow!("no header: {text}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| anyhow!("no status: {head}"))?;
    Ok((status, body.to_owned()))
}
