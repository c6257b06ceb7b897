//! A small disk that can be filled up: a tmpfs of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Makes one of so many MiB; needs root.
    pub fn new(mebibytes: u32) -> SmallDisk {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={mebibytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let mount = mount.expect("mount");
        let said = String::from_utf8_lossy(&mount.stderr);
        assert!(mount.status.success(), "this test mounts a small disk: run it as root ({})", said.trim());
        SmallDisk { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filling()).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// There is room again.
    pub fn free(&self) {
        std::fs::remove_file(self.filling()).expect("what was written");
    }

    fn filling(&self) -> PathBuf {
        self.path().join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also when something of it is still open.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}
