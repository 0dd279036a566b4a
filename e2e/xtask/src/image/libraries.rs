//! Which shared libraries a program needs. The machine's own loader is asked, through `ldd`, so
//! that what goes into the image is what the program was seen to start with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The libraries that `program` loads, its loader among them; empty for a static one.
pub(super) fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("start ldd (Debian: libc-bin, Fedora: glibc-common)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let is_static = |said: &str| said.contains("not a dynamic executable");
    if is_static(&text) || is_static(&complaint) || text.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        bail!("ldd {}: {}", program.display(), complaint.trim());
    }
    parse(&text).with_context(|| format!("ldd {}", program.display()))
}

/// Reads `name => /path (0x…)` and `/path (0x…)` lines; the kernel's own `linux-vdso` is no file.
fn parse(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.contains("=> not found") {
            bail!("{line}: install the library that it names");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split(" (").next().unwrap_or(path);
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    libraries.sort();
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_is_left_out() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1a)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f1b)\n";
        let found = parse(text).expect("parses");
        let wanted = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, wanted.map(PathBuf::from));
    }

    #[test]
    fn a_library_that_is_not_here_is_an_error() {
        let error = parse("\tlibx.so.1 => not found\n").expect_err("missing");
        assert!(error.to_string().contains("libx.so.1"), "{error}");
    }

    #[test]
    fn a_program_of_this_machine_has_a_c_library() {
        let found = of(&std::env::current_exe().expect("this test")).expect("ldd");
        assert!(found.iter().any(|path| path.to_string_lossy().contains("libc.so")), "{found:?}");
    }
}
