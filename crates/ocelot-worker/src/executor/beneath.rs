//! Opening what a job may have written: beneath its folder, through no link and no mount, without waiting, and
//! only regular files. Whatever reads from a used workspace goes through here.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use crate::condition::Disk;

/// A folder that is held open: what is opened in it stays in it, whatever is renamed or linked meanwhile.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Holds a folder of the worker's own; `path` itself must be trusted.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder(openat(CWD, path, flags, Mode::empty())?))
    }

    /// A regular file at `path` below; `NotFound` when there is nothing, `InvalidInput` when there is
    /// something else (a link on the way, a pipe, a device).
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let file = File::from(self.beneath(path, OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK)?);
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file)
    }

    /// The disk that it is on.
    pub(crate) fn disk(&self) -> io::Result<Disk> {
        Ok(rustix::fs::fstatvfs(&self.0)?.into())
    }

    /// A socket at `path` below, to be connected to by [`Folder::address`].
    pub(crate) fn socket(&self, path: &Path) -> io::Result<OwnedFd> {
        let socket = self.beneath(path, OFlags::PATH)?;
        if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(socket)
    }

    /// A short path that means exactly the opened thing: a socket's own may be longer than the 108 bytes that
    /// are possible, and somebody may put another in its place.
    pub(crate) fn address(of: &OwnedFd) -> String {
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(of))
    }

    fn beneath(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        match openat2(&self.0, path, flags, Mode::empty(), how) {
            // Kernels before 5.6, and sandboxes that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.name_by_name(path, flags),
            Err(Errno::LOOP | Errno::XDEV | Errno::NXIO) => Err(io::ErrorKind::InvalidInput.into()),
            other => Ok(other?),
        }
    }

    fn name_by_name(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let mut names = Vec::new();
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
            names.push(name);
        }
        let Some((last, folders)) = names.split_last() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = self.0.as_fd().try_clone_to_owned()?;
        for name in folders {
            at = openat(&at, *name, walk, Mode::empty())?;
        }
        Ok(openat(&at, *last, flags, Mode::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn planted() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("in/sub")).unwrap();
        std::fs::write(at("outside"), "secret").unwrap();
        std::fs::write(at("in/plain"), "plain").unwrap();
        std::fs::write(at("in/sub/deep"), "deep").unwrap();
        symlink(at("outside"), at("in/link")).unwrap();
        symlink("plain", at("in/link-inside")).unwrap();
        symlink(dir.path(), at("in/linked-dir")).unwrap();
        rustix::fs::mknodat(CWD, at("in/fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        drop(UnixListener::bind(at("in/sock")).unwrap());
        dir
    }

    #[test]
    fn only_regular_files_beneath() {
        let dir = planted();
        let folder = Folder::open(&dir.path().join("in")).unwrap();
        let check = |path: &str, want: Result<&str, io::ErrorKind>| {
            let read = |file: File| io::read_to_string(file).unwrap();
            let by_kernel = folder.file(Path::new(path)).map(read).map_err(|e| e.kind());
            assert_eq!(by_kernel.as_deref().map_err(|kind| *kind).ok(), want.ok(), "{path}");
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
            let by_name = folder.name_by_name(Path::new(path), flags);
            assert_eq!(
                want.is_err() && path != "fifo" && path != "sock" && path != "sub",
                by_name.is_err(),
                "{path}"
            );
        };
        check("plain", Ok("plain"));
        check("sub/deep", Ok("deep"));
        for bad in
            ["link", "link-inside", "linked-dir/outside", "../outside", "fifo", "sub", "/etc/passwd", "none"]
        {
            check(bad, Err(io::ErrorKind::InvalidInput));
        }
        assert!(folder.file(Path::new("sock")).is_err());
        assert_eq!(folder.file(Path::new("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(folder.socket(Path::new("sock")).is_ok());
        assert!(folder.socket(Path::new("plain")).is_err());
    }
}
