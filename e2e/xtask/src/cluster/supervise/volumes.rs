//! Volumes of the StorageClass "standard" belong to whoever uses them.
//!
//! The host-path provisioner makes each volume a folder that only root may write, and the kubelet
//! gives folders of that kind to no `fsGroup`, as it does with the volumes of real storage
//! drivers. So that pods that are not root can use them, the supervisor opens each new folder;
//! that takes it less time than starting a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the provisioner makes volumes.
const VOLUMES: &str = "/tmp/hostpath_pv";

/// Anyone may write; what is made in it belongs to the folder's group.
const OPEN: u32 = 0o2777;

/// Opens the volumes that were made since the last time.
pub(super) fn open_new() {
    open_below(Path::new(VOLUMES));
}

fn open_below(folder: &Path) {
    for volume in fs::read_dir(folder).into_iter().flatten().flatten() {
        let mode = volume.metadata().map(|found| found.permissions().mode() & 0o7777);
        if mode.is_ok_and(|mode| mode != OPEN) {
            // It may have been deleted at this moment.
            let _ = fs::set_permissions(volume.path(), PermissionsExt::from_mode(OPEN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_volume_is_opened_and_no_volumes_are_no_trouble() {
        let scratch = tempfile::tempdir().expect("scratch");
        let volume = scratch.path().join("pvc-1");
        fs::create_dir(&volume).expect("made");
        open_below(scratch.path());
        let mode = volume.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, OPEN);
        open_below(&scratch.path().join("none"));
    }
}
