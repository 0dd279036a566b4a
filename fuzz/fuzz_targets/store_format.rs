//! Bytes as a file or a ConfigMap holds them, and bodies behind a header that fits them: what is
//! read is written and read again.

#![no_main]

use flare_core::store_format::{decode, encode};
use libfuzzer_sys::fuzz_target;

fn check(bytes: &[u8]) {
    match decode(bytes) {
        Ok(stored) => assert_eq!(decode(&encode(&stored)).expect("we wrote it"), stored),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let (length, checksum) = (bytes.len(), crc32fast::hash(bytes));
    let header = format!("flare-index-map format=1 length={length} crc32={checksum:08x}\n");
    check(&[header.as_bytes(), bytes].concat());
});
