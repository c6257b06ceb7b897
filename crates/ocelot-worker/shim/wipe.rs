//! Deleting a folder that a job has filled. Compiled into the shim and the worker. It never follows a link, and
//! no depth of nested folders is too deep for it. Nothing may still be running in the folder.

use std::fs;
use std::io;
use std::path::Path;

/// Deletes what is in `folder`, not the folder itself.
///
/// Each folder found inside another is first moved up into `folder`, so no path here is ever longer than
/// two names, and no call goes deeper: a million nested folders take time, not the stack.
pub(crate) fn wipe(folder: &Path) -> io::Result<()> {
    let mut fresh = 0_u64;
    loop {
        let mut found = false;
        for entry in fs::read_dir(folder)? {
            found = true;
            let path = entry?.path();
            if !fs::symlink_metadata(&path)?.is_dir() {
                fs::remove_file(&path)?;
                continue;
            }
            for inner in fs::read_dir(&path)? {
                let inner = inner?.path();
                if fs::symlink_metadata(&inner)?.is_dir() {
                    fs::rename(&inner, free_name(folder, &mut fresh))?;
                } else {
                    fs::remove_file(&inner)?;
                }
            }
            fs::remove_dir(&path)?;
        }
        if !found {
            return Ok(());
        }
    }
}

fn free_name(folder: &Path, fresh: &mut u64) -> std::path::PathBuf {
    loop {
        *fresh += 1;
        let path = folder.join(format!("wiped-{fresh}"));
        if fs::symlink_metadata(&path).is_err() {
            return path;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_and_no_name_is_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("in/a/b/c/d")).unwrap();
        fs::create_dir_all(at("in/wiped-1/x/y")).unwrap();
        fs::create_dir(at("out")).unwrap();
        fs::write(at("out/keep"), "").unwrap();
        fs::write(at("in/a/file"), "").unwrap();
        std::os::unix::fs::symlink(at("out"), at("in/link")).unwrap();
        std::os::unix::fs::symlink(at("out"), at("in/a/b/link")).unwrap();
        wipe(&at("in")).unwrap();
        assert_eq!(fs::read_dir(at("in")).unwrap().count(), 0);
        assert!(at("out/keep").exists());
    }
}
