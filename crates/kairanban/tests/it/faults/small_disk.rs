//! A disk of its own that is small enough to be filled.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

/// A small file system in memory. Unmounted when dropped.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one; `None` where that is not allowed, as to any user but root.
    pub(super) fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let options = format!("size={megabytes}m,mode=1777");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    pub(super) fn folder(&self) -> TempDir {
        tempfile::tempdir_in(&self.0).expect("a folder")
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        for piece in [vec![0; 65_536], vec![0; 4_096]] {
            let full = loop {
                if let Err(error) = filler.write_all(&piece) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    pub(super) fn make_room(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A file that is still open keeps it busy: then it goes when that is closed.
        let status = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "umount {}",
            self.0.path().display()
        );
    }
}
