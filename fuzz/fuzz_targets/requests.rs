//! Bytes as a client sends them: cut at any place they give the same requests, every rejected line
//! has an answer that upstream gives, and every request written down is read again.

#![no_main]

use flare_core::protocol::{LineBuffer, LineError, Rejected, Request, reply};
use libfuzzer_sys::fuzz_target;

type Outcome = (Vec<Result<Request, Rejected>>, Option<LineError>);

fn requests(pieces: &[&[u8]]) -> Outcome {
    let mut lines = LineBuffer::for_requests();
    let mut parsed = Vec::new();
    for piece in pieces {
        lines.extend(piece);
        loop {
            match lines.next_frame() {
                Ok(Some(frame)) => parsed.push(frame.request()),
                Ok(None) => break,
                Err(error) => return (parsed, Some(error)),
            }
        }
    }
    (parsed, None)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let whole = requests(&[stream]);
    let (start, end) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(requests(&[start, end]), whole);
    for parsed in whole.0 {
        match parsed {
            Ok(request) => {
                let line = request.to_string();
                assert_eq!(Request::parse(line.as_bytes()), Ok(request), "{line}");
            }
            Err(Rejected { reply, .. }) => assert!(
                reply == reply::ERROR
                    || reply == reply::NOTHING
                    || reply.starts_with(b"SERVER_ERROR failed to ")
            ),
        }
    }
});
