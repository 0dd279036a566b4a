//! Bytes in and out: lines that end with LF (a CR before it dropped), data blocks, and outgoing
//! connections with upstream's habits (flare-protocol.md 2).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

/// Longest line that is read: room for `get` with thousands of the longest keys. Upstream has no
/// limit; a test that needs more is not about Flare.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// Attempts to connect, and the pause after each that fails: 4.5 s in all (flare-protocol.md 2).
pub(crate) const CONNECT_ATTEMPTS: u32 = 9;
pub(crate) const CONNECT_PAUSE: Duration = Duration::from_millis(500);

/// The receiving side of a connection.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader) }
    }

    /// The next line without its end; none at the end of the stream. A line that the peer did not
    /// end before it closed is lost, as with upstream.
    pub(crate) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let taken = end.map_or(chunk.len(), |end| end + 1);
            line.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            if line.len() > MAX_LINE {
                return Err(io::Error::other(format!("a line of more than {MAX_LINE} bytes")));
            }
        }
    }

    /// The first byte of what comes next, without taking it.
    pub(crate) async fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf().await?.first().copied())
    }

    /// Exactly `size` bytes and the two that follow them, which are dropped unchecked.
    pub(crate) async fn block(&mut self, size: usize) -> io::Result<Bytes> {
        // read in pieces: a size is only a claim until the bytes are there
        let mut data = Vec::new();
        let wanted = size + 2;
        let read = (&mut self.reader).take(wanted as u64).read_to_end(&mut data).await?;
        if read < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        data.truncate(size);
        Ok(Bytes::from(data))
    }
}

/// An outgoing connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    limit: Duration,
}

impl Outgoing {
    /// Connects, `attempts` times at most; a name that does not resolve fails at once. `limit` is
    /// the longest wait for any answer.
    pub(crate) async fn open(
        host: &str,
        port: i32,
        attempts: u32,
        limit: Duration,
    ) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..attempts {
            match connect(host, port).await? {
                Ok(stream) => {
                    let (reader, writer) = stream.into_split();
                    return Ok(Self { lines: Lines::new(reader), writer, limit });
                }
                Err(error) => last = error,
            }
            sleep(CONNECT_PAUSE).await;
        }
        Err(last)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.limit, self.writer.write_all(bytes)).await
    }

    /// The next line; a connection that ends is an error.
    pub(crate) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let line = within(self.limit, self.lines.line()).await?;
        line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// A data block.
    pub(crate) async fn block(&mut self, size: usize) -> io::Result<Bytes> {
        within(self.limit, self.lines.block(size)).await
    }
}

/// The outer error is final, the inner one worth another attempt.
async fn connect(host: &str, port: i32) -> io::Result<io::Result<TcpStream>> {
    let port = u16::try_from(port).map_err(|_| io::ErrorKind::InvalidInput)?;
    let address = lookup_host((host, port)).await?.find(std::net::SocketAddr::is_ipv4);
    let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect(address).await;
    if let Ok(stream) = &stream {
        stream.set_nodelay(true)?;
    }
    Ok(stream)
}

/// The result, or `TimedOut`.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_with_lf_and_blocks_drop_two_bytes_unchecked() {
        let input: &[u8] = b"ping\r\nset k\nab\r\nxyz!!rest\r\r\nlost";
        let mut lines = Lines::new(input);
        assert_eq!(lines.line().await.unwrap().unwrap(), b"ping");
        assert_eq!(lines.peek().await.unwrap(), Some(b's'));
        assert_eq!(lines.line().await.unwrap().unwrap(), b"set k");
        assert_eq!(lines.block(2).await.unwrap(), "ab");
        assert_eq!(lines.block(3).await.unwrap(), "xyz");
        assert_eq!(lines.line().await.unwrap().unwrap(), b"rest\r", "only one CR is dropped");
        assert_eq!(lines.line().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_block_that_does_not_come_is_an_error() {
        let mut lines = Lines::new(&b"abc\r"[..]);
        assert_eq!(lines.block(3).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
