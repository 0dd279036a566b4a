//! Bytes as a `flare.xml` holds them: what is read is written and read again.

#![no_main]

use flare_core::flare_xml::{decode, encode};
use flare_core::model::HashSettings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let hash = HashSettings::default();
    match decode(bytes, hash.clone()) {
        Ok(stored) => assert_eq!(decode(&encode(&stored), hash).expect("we wrote it"), stored),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
