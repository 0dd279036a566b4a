//! Saying something on standard output, to a reader who may have left: `cargo xtask … | head`.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process;

/// What a shell says of a program that was ended since nobody reads what it writes.
const NOBODY_READS: i32 = 141;

/// Like `println!`, which would panic when nobody reads.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say::line(format_args!($($text)*))
    };
}

/// Writes a line. Ends the program when that fails: whatever it holds ends with it, as on Ctrl-C.
pub(crate) fn line(text: Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.write_all(b"\n")) {
        if error.kind() == ErrorKind::BrokenPipe {
            process::exit(NOBODY_READS);
        }
        eprintln!("cargo xtask: write to standard output: {error}");
        process::exit(1);
    }
}
