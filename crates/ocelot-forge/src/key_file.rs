//! What ssh and git read from files only, such as the private key of one use of ssh: it lies in one for as long as it is needed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module. The file is gone when it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyFile(PathBuf);

impl KeyFile {
    /// Writes it into `folder`, which nobody else may look into.
    pub(crate) fn new(folder: &Path, key: &str) -> io::Result<KeyFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let file = KeyFile(path);
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file.0)?;
        out.write_all(key.as_bytes())?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        // What is left after all goes when the server starts again.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_reads_it_and_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let (one, two) = (KeyFile::new(&folder, "one").unwrap(), KeyFile::new(&folder, "two").unwrap());
        assert_eq!(
            fs::read_to_string(one.path()).unwrap() + &fs::read_to_string(two.path()).unwrap(),
            "onetwo"
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(one.path()), mode(&folder)), (0o600, 0o700));
        drop((one, two));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
