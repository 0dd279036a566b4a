//! Answers on their way to one peer: many small ones leave in one write, a large shared one is
//! never copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};

use crate::net::Stream;

/// Answers up to this long, in bytes, are gathered into one write; longer ones are sent as they
/// are.
const GATHERED_MAX: usize = 4 * 1024;

/// Gathered bytes beyond which nothing more is answered before they are gone: a peer that asks
/// much and reads nothing costs this and one answer.
const WAITING_MAX: usize = 16 * 1024;

/// What has been answered and not yet written. Holds no memory when it is empty.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Goes first.
    gathered: BytesMut,
    /// Goes after it.
    last: Bytes,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.last.is_empty()
    }

    /// Is it to be written before anything is added?
    pub(super) fn is_full(&self) -> bool {
        self.last.len() > GATHERED_MAX || self.gathered.len() >= WAITING_MAX
    }

    pub(super) fn push(&mut self, answer: Bytes) {
        if self.is_empty() {
            self.last = answer;
            return;
        }
        self.gathered.extend_from_slice(&self.last);
        self.last = Bytes::new();
        if answer.len() > GATHERED_MAX {
            self.last = answer;
        } else {
            self.gathered.extend_from_slice(&answer);
        }
    }

    /// Writes until nothing is left; `written` grows by what the socket took.
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut dyn Stream,
        written: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(stream);
        while !self.is_empty() {
            let parts = [IoSlice::new(&self.gathered), IoSlice::new(&self.last)];
            let parts = if self.gathered.is_empty() { &parts[1..] } else { &parts[..] };
            let taken = ready!(stream.as_mut().poll_write_vectored(cx, parts))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += taken as u64;
            let gathered = taken.min(self.gathered.len());
            self.gathered.advance(gathered);
            self.last.advance(taken - gathered);
            if self.gathered.is_empty() {
                self.gathered = BytesMut::new();
            }
        }
        self.last = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn answers_keep_their_order_over_partial_writes() {
        let (mut ours, mut theirs) = tokio::io::duplex(1_000);
        let large = Bytes::from(vec![b'L'; 10_000]);
        let mut out = Outgoing::default();
        for answer in [Bytes::from_static(b"a"), Bytes::from_static(b"b"), large.clone()] {
            assert!(!out.is_full());
            out.push(answer);
        }
        assert!(out.is_full(), "a large answer is sent before the next is taken");
        let mut written = 0;
        let flush = std::future::poll_fn(|cx| out.poll_flush(&mut ours, &mut written, cx));
        let mut read = vec![0; 10_002];
        let (flushed, got) = tokio::join!(flush, theirs.read_exact(&mut read));
        flushed.unwrap();
        got.unwrap();
        assert_eq!(&read[..2], b"ab");
        assert!(read[2..].iter().all(|byte| *byte == b'L'));
        assert_eq!(written, 10_002);
        assert!(out.is_empty());
    }
}
