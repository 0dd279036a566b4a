//! A client's side of the index protocol, as little of it as a measurement needs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// No single answer may take longer; a server that needs more is as good as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// flared tries to connect this often, half a second apart (flare-protocol.md 2).
const CONNECT_ATTEMPTS: usize = 9;

/// One connection to an index.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects as flared does: a refusal is tried again.
    pub(crate) async fn connect(server: SocketAddr) -> Result<Self> {
        let mut attempt = 1;
        let stream = loop {
            match TcpStream::connect(server).await {
                Ok(stream) => break stream,
                Err(error) if attempt == CONNECT_ATTEMPTS => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(500)).await,
            }
            attempt += 1;
        };
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a line; the answer is one line.
    pub(crate) async fn line(&mut self, request: &str) -> Result<String> {
        self.exchange(request, b"\r\n").await
    }

    /// Sends a line; the answer ends with `END`.
    pub(crate) async fn listing(&mut self, request: &str) -> Result<String> {
        self.exchange(request, b"END\r\n").await
    }

    /// Sends a command that must be answered `OK`.
    pub(crate) async fn ok(&mut self, request: &str) -> Result<()> {
        let answer = self.line(request).await?;
        ensure!(answer == "OK\r\n", "`{request}` was answered with {answer:?}");
        Ok(())
    }

    /// The server's `node_map_version`.
    pub(crate) async fn version(&mut self) -> Result<u64> {
        let stats = self.listing("stats").await?;
        let line = stats.lines().find_map(|line| line.strip_prefix("STAT node_map_version "));
        line.context("`stats` without node_map_version")?.parse().context("not a version")
    }

    /// Writes a request and reads as many bytes as its answer is known to have.
    pub(crate) async fn repeat(&mut self, request: &[u8], answer_len: usize) -> Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.resize(answer_len, 0);
        self.stream.read_exact(&mut self.buffer).await?;
        Ok(())
    }

    async fn exchange(&mut self, request: &str, end: &[u8]) -> Result<String> {
        self.stream.write_all(format!("{request}\r\n").as_bytes()).await?;
        self.buffer.clear();
        let answer = async {
            loop {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    bail!("the server closed the connection at `{request}`");
                }
                if self.buffer.ends_with(end) || self.buffer.starts_with(b"SERVER_ERROR") {
                    return Ok(String::from_utf8_lossy(&self.buffer).into_owned());
                }
            }
        };
        let answer = timeout(PATIENCE, answer).await;
        answer.with_context(|| format!("no answer to `{request}` in {PATIENCE:?}"))?
    }
}
