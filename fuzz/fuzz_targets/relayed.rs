//! Bytes as a node sends them to another: what is known of a piece stays true of the whole, and a
//! read that is passed on is one whole line.

#![no_main]

use flare_core::protocol::relayed::{Beginning, beginning};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let mut rest = stream;
    loop {
        let whole = beginning(rest);
        let early = beginning(&rest[..usize::from(cut).min(rest.len())]);
        assert!(early == Beginning::Unclear || early == whole);
        let Beginning::Read(length) = whole else { return };
        let (read, others) = rest.split_at(length);
        assert!([&b"get "[..], b"gets ", b"keys "].iter().any(|begin| read.starts_with(begin)));
        assert_eq!(read.iter().position(|byte| *byte == b'\n'), Some(length - 1));
        rest = others;
    }
});
