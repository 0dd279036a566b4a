//! How the requests begin that a node sends to another: enough to tell reads, which may be passed
//! on to anybody, from what changes something. Reads come without a prefix (flare-protocol.md 5.1).

/// How the requests begin that change nothing.
const READS: [&[u8]; 3] = [b"get ", b"gets ", b"keys "];

/// How the bytes begin that a node sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// A read, of so many bytes, its line end included.
    Read(usize),
    /// Perhaps a read; more bytes will tell.
    Unclear,
    /// Something that may change something.
    Other,
}

/// How `sent` begins, which are all bytes since the request before.
pub fn beginning(sent: &[u8]) -> Beginning {
    if !READS.iter().any(|read| sent.iter().zip(*read).all(|(byte, wanted)| byte == wanted)) {
        return Beginning::Other;
    }
    match sent.iter().position(|byte| *byte == b'\n') {
        Some(end) => Beginning::Read(end + 1),
        None => Beginning::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_reads_are_passed_on() {
        for (sent, begins) in [
            ("", Beginning::Unclear),
            ("g", Beginning::Unclear),
            ("get", Beginning::Unclear),
            ("get k", Beginning::Unclear),
            ("get k\r\nget l", Beginning::Read(7)),
            ("gets k\r\n", Beginning::Read(8)),
            ("keys k 1\r\n<a:1>", Beginning::Read(10)),
            ("<a:1>get", Beginning::Other),
            ("set k 0 0 1\r\n", Beginning::Other),
            ("gat k\r\n", Beginning::Other),
            ("getx\r\n", Beginning::Other),
            ("get\n", Beginning::Other),
        ] {
            assert_eq!(beginning(sent.as_bytes()), begins, "{sent:?}");
        }
    }
}
