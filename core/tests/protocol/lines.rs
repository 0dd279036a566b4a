//! How a stream becomes lines: line ends, limits, the binary protocol, and memory when idle.

use flare_core::protocol::line::{LINE_MAX, SKIPPED_LINE_MAX};
use flare_core::protocol::{Frame, LineBuffer, LineError};

/// Everything that comes out: lines, `None` for one that was too long, and how it ended.
type Frames = (Vec<Option<Vec<u8>>>, Option<LineError>);

fn frames(chunks: &[&[u8]]) -> Frames {
    let mut lines = LineBuffer::for_requests();
    let mut seen = Vec::new();
    for chunk in chunks {
        lines.extend(chunk);
        loop {
            match lines.next_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Line(line))) => seen.push(Some(line.to_vec())),
                Ok(Some(Frame::TooLong)) => seen.push(None),
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

fn line(text: &[u8]) -> Option<Vec<u8>> {
    Some(text.to_vec())
}

#[test]
fn lines_end_in_lf_and_one_cr_before_it_is_dropped() {
    let (seen, error) = frames(&[b"a\r\nb\n\n\r\nc\r\r\n\rd\ne\rf\npart"]);
    let expected: [&[u8]; 7] = [b"a", b"b", b"", b"", b"c\r", b"\rd", b"e\rf"];
    assert_eq!(seen, expected.map(line));
    assert_eq!(error, None);
}

#[test]
fn a_line_may_come_in_pieces() {
    let (seen, _) = frames(&[b"pi", b"ng", b"\r", b"\n", b"", b"meta\nversi", b"on\n"]);
    assert_eq!(seen, [line(b"ping"), line(b"meta"), line(b"version")]);
}

#[test]
fn a_line_over_the_limit_is_reported_where_it_ends_and_the_next_one_is_read() {
    let longest = vec![b'x'; LINE_MAX];
    let mut stream = longest.clone();
    stream.extend_from_slice(b"\nping\nx");
    stream.extend_from_slice(&longest);
    stream.extend_from_slice(b"\nping\n");
    for size in [1, 7, 1000, LINE_MAX, LINE_MAX + 1, stream.len()] {
        let chunks: Vec<&[u8]> = stream.chunks(size).collect();
        let (seen, error) = frames(&chunks);
        assert_eq!(seen.len(), 4, "chunks of {size}");
        assert_eq!(seen[0].as_deref(), Some(&longest[..]));
        assert_eq!(&seen[1..], [line(b"ping"), None, line(b"ping")], "chunks of {size}");
        assert_eq!(error, None);
    }
}

#[test]
fn a_line_without_end_costs_little_memory_and_then_the_connection() {
    let mut lines = LineBuffer::for_requests();
    let chunk = [b'x'; 1000];
    let mut sent = 0;
    let error = loop {
        lines.extend(&chunk);
        sent += chunk.len();
        match lines.next_frame() {
            Ok(None) => assert!(lines.read_buffer().capacity() <= 4 * LINE_MAX),
            Ok(Some(frame)) => panic!("{frame:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, LineError::Endless);
    assert!(sent > SKIPPED_LINE_MAX && sent <= SKIPPED_LINE_MAX + chunk.len());
    assert_eq!(lines.next_frame(), Err(LineError::Endless), "asked again");
}

#[test]
fn how_much_is_skipped_does_not_depend_on_where_the_stream_is_cut() {
    for (length, expected) in [
        (SKIPPED_LINE_MAX, (vec![None], None)),
        (SKIPPED_LINE_MAX + 1, (vec![], Some(LineError::Endless))),
    ] {
        let mut stream = vec![b'x'; length];
        stream.push(b'\n');
        for size in [1_000, LINE_MAX, LINE_MAX + 1, length, length + 1] {
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            assert_eq!(frames(&chunks), expected, "{length} bytes in chunks of {size}");
        }
    }
}

#[test]
fn a_binary_request_ends_the_connection_once_its_header_is_there() {
    let mut header = vec![0x80, 0x0b];
    header.resize(24, 0);
    assert_eq!(frames(&[&header]), (vec![], Some(LineError::Binary)));
    assert_eq!(frames(&[b"ping\n", &header]), (vec![line(b"ping")], Some(LineError::Binary)));
    // As upstream: it waits for the whole header, though a line has ended in it.
    assert_eq!(frames(&[b"ping\n\x80ping\n"]), (vec![line(b"ping")], None));
    assert_eq!(frames(&[b" \x80\n"]), (vec![line(b" \x80")], None));
    let mut replies = LineBuffer::for_replies();
    replies.extend(b"\x80 is not special in a reply\n");
    assert!(matches!(replies.next_frame(), Ok(Some(Frame::Line(_)))));
}

#[test]
fn an_idle_connection_holds_no_memory() {
    let mut lines = LineBuffer::for_requests();
    lines.extend(b"ping\r\nping\r\n");
    assert!(!lines.is_empty());
    while lines.next_frame().unwrap().is_some() {}
    assert!(lines.is_empty());
    assert_eq!(lines.held_memory(), 0);
}

#[test]
fn what_follows_a_line_stays_for_later() {
    let mut lines = LineBuffer::for_replies();
    lines.extend(b"OK\r\nO");
    assert_eq!(lines.next_frame(), Ok(Some(Frame::Line(b"OK"))));
    assert!(!lines.is_empty());
    lines.extend(b"K\r\n");
    assert_eq!(lines.next_frame(), Ok(Some(Frame::Line(b"OK"))));
    assert!(lines.is_empty());
}
