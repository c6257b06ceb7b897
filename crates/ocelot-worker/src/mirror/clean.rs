//! Removing mirrors: those that nobody has used for long, and those for which there is no room.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ocelot_model::size;

use super::Mirrors;
use crate::folder::remove_if_there;
use crate::keep::{Item, Keep, size_of};

/// In a mirror; its time is when the mirror was last used.
const USED: &str = "ocelot-used";
/// What a mirror is called while it is being deleted: a half one must not be taken for whole.
const GONE: &str = ".gone-";

/// The mirror is used now.
pub(super) fn mark(path: &Path) {
    if let Err(error) = fs::write(path.join(USED), "") {
        tracing::warn!("that the mirror {} was used cannot be noted: {error}", path.display());
    }
}

fn last_used(path: &Path) -> io::Result<SystemTime> {
    // A mirror of an older version has no mark.
    fs::metadata(path.join(USED)).or_else(|_| fs::metadata(path))?.modified()
}

struct Found {
    name: String,
    used: SystemTime,
    item: Item,
}

impl Mirrors {
    /// Removes what is not to be kept, and with `missing` as many more as free so many bytes; never one in use. Answers in
    /// words what it removed.
    pub(crate) async fn clean(&self, keep: Keep, missing: u64) -> io::Result<Vec<String>> {
        let folder = self.folder.clone();
        let found = tokio::task::spawn_blocking(move || list(&folder)).await.map_err(io::Error::other)??;
        let items: Vec<Item> = found.iter().map(|found| found.item).collect();
        let mut removed = Vec::new();
        for at in keep.doomed(&items, missing) {
            let Found { name, used, item } = &found[at];
            let path = self.folder.join(name);
            let Ok(held) = self.lock(name).try_lock_owned() else { continue };
            // It was used while the others were looked at.
            if last_used(&path).is_ok_and(|now| now != *used) {
                continue;
            }
            let gone = self.folder.join(format!("{GONE}{name}"));
            fs::rename(&path, &gone)?;
            drop(held);
            remove(gone).await?;
            let days = item.unused.as_secs() / 86_400;
            removed.push(format!("mirror {name} ({}, unused for {days} days)", size::words(item.bytes)));
        }
        Ok(removed)
    }
}

/// The mirrors, once what an earlier life was deleting is gone.
fn list(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if name.starts_with(GONE) {
            remove_if_there(&path)?;
        } else if let Ok(used) = last_used(&path) {
            let unused = used.elapsed().unwrap_or(Duration::ZERO);
            found.push(Found { name, used, item: Item { unused, bytes: size_of(&path) } });
        }
    }
    Ok(found)
}

async fn remove(path: PathBuf) -> io::Result<()> {
    tokio::task::spawn_blocking(move || remove_if_there(&path)).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mirror_that_nobody_uses_goes_and_one_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(folder.path().join("mirrors"));
        let nothing = Keep { age: None, bytes: None };
        assert!(mirrors.clean(nothing, 0).await.unwrap().is_empty());
        let make = |name: &str, days: u64| {
            let path = mirrors.folder.join(name);
            fs::create_dir_all(path.join("objects")).unwrap();
            fs::write(path.join("objects/pack"), vec![1; 100_000]).unwrap();
            mark(&path);
            let time = SystemTime::now() - Duration::from_hours(24 * days);
            fs::File::options().write(true).open(path.join(USED)).unwrap().set_modified(time).unwrap();
        };
        for (name, days) in [("old", 40), ("older", 50), ("young", 2), (".gone-half", 0)] {
            make(name, days);
        }
        assert_eq!(super::super::names(&mirrors.folder), ["old", "older", "young"]);
        let held = mirrors.lock("older").try_lock_owned().unwrap();
        let keep = Keep { age: Some(Duration::from_hours(24 * 30)), bytes: None };
        let removed = mirrors.clean(keep, 0).await.unwrap();
        assert!(
            matches!(&removed[..], [one] if one.starts_with("mirror old (") && one.contains("40 days")),
            "{removed:?}"
        );
        assert_eq!(super::super::names(&mirrors.folder), ["older", "young"]);
        assert!(!mirrors.folder.join(".gone-half").exists());
        drop(held);
        // Room is missing, so all of them go.
        assert_eq!(mirrors.clean(nothing, u64::MAX).await.unwrap().len(), 2);
        assert!(fs::read_dir(&mirrors.folder).unwrap().next().is_none());
    }
}
