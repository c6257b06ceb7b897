//! One process per data folder, and one server per SQLite file, whichever folder it has. The lock ends with the process,
//! however it ends.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Makes the folder when it is missing (for this user alone) and locks it.
pub(crate) fn lock(data: &Path) -> anyhow::Result<Lock> {
    make(data)?;
    let words = |owner: &str| {
        format!(
            "{} is in use by process {owner}: stop it, or give another folder with --data",
            data.display()
        )
    };
    take(&data.join("lock"), words)
}

/// Locks the file of an SQLite database; `None` for another one.
pub(crate) fn database(url: &str) -> anyhow::Result<Option<Lock>> {
    let Some(file) = ocelot_store::sqlite_file(url) else { return Ok(None) };
    let file = std::path::absolute(file)?;
    // By whatever way it is named.
    let real = match (std::fs::canonicalize(&file), file.parent(), file.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(folder), Some(name)) => {
            make(folder)?;
            std::fs::canonicalize(folder)?.join(name)
        }
        (Err(_), ..) => file,
    };
    let words = |owner: &str| {
        format!(
            "the database {} is in use by process {owner}: an SQLite file is one server's. Stop that one, or use \
             PostgreSQL for several servers",
            real.display()
        )
    };
    let mut path = real.clone().into_os_string();
    path.push(".lock");
    take(Path::new(&path), words).map(Some)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).with_context(|| format!("cannot make the data folder {}", folder.display()))
}

fn take(path: &Path, in_use: impl Fn(&str) -> String) -> anyhow::Result<Lock> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            bail!(in_use(owner.trim()));
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    // Only for the message above.
    let _ =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = super::lock(folder.path()).expect("the first lock");
        let error = super::lock(folder.path()).expect_err("it is locked").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        super::lock(folder.path()).expect("free again");
    }

    #[test]
    fn an_sqlite_file_is_locked_by_whatever_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("b")).expect("a folder");
        let url = |name: &str| format!("sqlite://{}", path(name).display());
        let first = super::database(&url("a/ocelot.db")).expect("the first lock").expect("it is a file");
        std::os::unix::fs::symlink(path("a"), path("b/a")).expect("a link");
        for same in ["a/ocelot.db", "b/../a/ocelot.db", "b/a/ocelot.db"] {
            let error = super::database(&url(same)).expect_err("it is locked").to_string();
            assert!(error.contains("an SQLite file is one server's"), "{error}");
        }
        super::database(&url("a/other.db")).expect("another file").expect("a lock");
        assert!(super::database("postgres://h/d").expect("no lock is needed").is_none());
        drop(first);
        super::database(&url("a/ocelot.db")).expect("free again").expect("a lock");
    }
}
