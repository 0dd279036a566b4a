//! The pid file: a start fails if it names a living process (flare-protocol.md Q17).

use std::path::Path;

use super::StartError;

/// Writes this process's number, unless the file names one that lives: also its own, which is what
/// a container that restarts finds.
pub(crate) fn write(path: &Path) -> Result<(), StartError> {
    let own = std::process::id();
    let fail = |reason: String| StartError::PidFile { path: path.display().to_string(), reason };
    if let Ok(text) = std::fs::read_to_string(path)
        && let Ok(pid) = text.trim().parse::<u32>()
        && Path::new(&format!("/proc/{pid}")).exists()
    {
        return Err(fail(format!("process {pid} is alive")));
    }
    std::fs::write(path, format!("{own}\n")).map_err(|error| fail(error.to_string()))
}

/// Removes it at an orderly end.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "pid file not removed");
    }
}
