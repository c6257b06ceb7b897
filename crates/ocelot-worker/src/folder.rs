//! The folder of one attempt, `DATA/jobs/<attempt>/`: what a worker that was killed finds again.
//!
//! `offer` is what the server sent, `state` how far the attempt has come, `setup.log` the worker's own lines,
//! `workspace/` the checkout, and `io/` is the executor's. Nothing here is flushed to the disk on purpose: a
//! killed process loses nothing that it wrote, and a machine that lost power has lost its containers too.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelot_api::proto;
use ocelot_model::Status;
use ocelot_model::id::{AttemptId, JobId};
use ocelot_model::login::{Login, Way};
use ocelot_model::roots;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::executor::Place;

/// How far an attempt has come.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Its slot.
    pub(crate) slot: u32,
    /// When it began, by [`boot_ms`].
    pub(crate) began_ms: u64,
    /// The stage that was ordered last and has not ended.
    pub(crate) current: Option<Current>,
    /// Stages that have ended, by id.
    pub(crate) ended: BTreeMap<i64, Ended>,
    /// Someone wants it stopped.
    pub(crate) cancel: Option<Cancel>,
    /// When the first stage began that runs although the job is over.
    #[serde(default)]
    pub(crate) brief_ms: Option<u64>,
    /// How it ended: all that is left is to tell the server.
    pub(crate) result: Option<Outcome>,
}

/// A stage under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Current {
    /// Its id.
    pub(crate) stage: i64,
    /// The room in which it was started; `None` for the setup.
    pub(crate) room: Option<String>,
    /// When, by [`boot_ms`].
    pub(crate) began_ms: u64,
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Terminal.
    pub(crate) status: Status,
    /// Of its script.
    pub(crate) exit_code: Option<i32>,
    /// How long it took.
    pub(crate) duration_ms: u64,
    /// Why; empty for none.
    pub(crate) reason: String,
    /// The room whose files hold its log; `None` for the setup, and for a stage that never started.
    pub(crate) room: Option<String>,
    /// It counts as passed for the job, though it did not.
    pub(crate) forgiven: bool,
    /// With `error`: not the job's own fault.
    pub(crate) infrastructure: bool,
}

/// How much is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cancel {
    /// Stages marked `always` still run.
    Gently,
    /// Everything.
    Force,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Terminal.
    pub(crate) status: Status,
    /// Why; empty for none.
    pub(crate) reason: String,
    /// With `error`: another attempt may do better.
    pub(crate) infrastructure: bool,
}

/// What a folder has to go on with.
pub(crate) type Kept = (Folder, proto::Offer, State);

/// An attempt's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder of an offer. It appears whole or not at all.
    pub(crate) fn create(jobs: &Path, offer: &proto::Offer, state: &State) -> io::Result<Folder> {
        let id = lease(offer).attempt_id;
        let new = jobs.join(format!(".new-{id}"));
        let whole = jobs.join(id.to_string());
        remove_if_there(&new)?;
        let mut private = DirBuilder::new();
        private.mode(0o700).create(&new)?;
        DirBuilder::new().mode(0o755).create(new.join("workspace"))?;
        let folder = Folder(new.clone());
        folder.write("offer", &offer.encode_to_vec())?;
        folder.save(state)?;
        fs::rename(&new, &whole)?;
        Ok(Folder(whole))
    }

    /// All folders below `jobs` that can be gone on with, and the paths of the others.
    pub(crate) fn list(jobs: &Path) -> io::Result<(Vec<Kept>, Vec<PathBuf>)> {
        let (mut whole, mut rest) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(jobs)? {
            let path = entry?.path();
            match Folder(path.clone()).read() {
                Some((offer, state)) => whole.push((Folder(path), offer, state)),
                None => rest.push(path),
            }
        }
        Ok((whole, rest))
    }

    fn read(&self) -> Option<(proto::Offer, State)> {
        let offer = proto::Offer::decode(fs::read(self.0.join("offer")).ok()?.as_slice()).ok()?;
        let state = serde_json::from_slice(&fs::read(self.0.join("state")).ok()?).ok()?;
        let same = self
            .0
            .file_name()
            .is_some_and(|name| name.to_str() == Some(&lease(&offer).attempt_id.to_string()));
        same.then_some((offer, state))
    }

    /// Writes the state in place of the old one.
    pub(crate) fn save(&self, state: &State) -> io::Result<()> {
        self.write("state", &serde_json::to_vec(state)?)
    }

    /// The worker's own lines about the setup.
    pub(crate) fn setup_log(&self) -> PathBuf {
        self.0.join("setup.log")
    }

    /// Writes the private key with which the repository is cloned to where git finds it; `None` for a login without one.
    pub(crate) fn keep_key(&self, login: &Login) -> io::Result<Option<PathBuf>> {
        let Way::Key(key) = &login.way else { return Ok(None) };
        self.write("clone-key", key.as_bytes())?;
        Ok(Some(self.0.join("clone-key")))
    }

    /// The key is not needed any more. What is left after all goes with the folder.
    pub(crate) fn forget_key(&self) {
        let _ = fs::remove_file(self.0.join("clone-key"));
    }

    /// Writes the authorities that the repository's host is believed with to where git finds them; `None` when the offer
    /// names none.
    pub(crate) fn keep_ca(&self, offer: &proto::Offer) -> io::Result<Option<PathBuf>> {
        if offer.ca.is_empty() {
            return Ok(None);
        }
        self.write("clone-ca.pem", roots::with_public(&offer.ca).as_bytes())?;
        Ok(Some(self.0.join("clone-ca.pem")))
    }

    /// What the executor needs to know.
    pub(crate) fn place(&self, offer: &proto::Offer, slot: u32) -> Place {
        let attempt = AttemptId(lease(offer).attempt_id);
        Place { folder: self.0.clone(), job: JobId(offer.job_id), attempt, slot }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.0.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&new)?.write_all(bytes)?;
        fs::rename(new, self.0.join(name))
    }
}

/// The lease of an offer; an empty one, which every server refuses, when there is none.
pub(crate) fn lease(offer: &proto::Offer) -> proto::Lease {
    offer.lease.clone().unwrap_or_default()
}

/// Deletes a folder with all in it.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Milliseconds since the machine was started: goes on while it sleeps, is the same for every process, and
/// nobody sets it.
pub(crate) fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// What is left of `limit_ms`, counted from `began_ms`.
pub(crate) fn left(began_ms: u64, limit_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(limit_ms.saturating_sub(now_ms.saturating_sub(began_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(attempt_id: i64) -> proto::Offer {
        let lease = proto::Lease { attempt_id, attempt: 2, token: "0123456789abcdef".into() };
        proto::Offer { lease: Some(lease), repo: "git/example".into(), ..proto::Offer::default() }
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let jobs = tempfile::tempdir().unwrap();
        let folder = Folder::create(jobs.path(), &offer(7), &State::default()).unwrap();
        let current = Some(Current { stage: 3, room: Some("main".into()), began_ms: 9 });
        folder.save(&State { current: current.clone(), slot: 1, ..State::default() }).unwrap();

        let (whole, rest) = Folder::list(jobs.path()).unwrap();
        let [(_, found, state)] = whole.as_slice() else { panic!("{whole:?}") };
        assert_eq!((found, &state.current, state.slot), (&offer(7), &current, 1));
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_not_whole_is_told_apart() {
        let jobs = tempfile::tempdir().unwrap();
        for name in [".new-3", "8", "9"] {
            fs::create_dir(jobs.path().join(name)).unwrap();
        }
        fs::write(jobs.path().join("8/offer"), offer(8).encode_to_vec()).unwrap();
        fs::write(jobs.path().join("9/offer"), offer(10).encode_to_vec()).unwrap();
        fs::write(jobs.path().join("9/state"), serde_json::to_vec(&State::default()).unwrap()).unwrap();
        let (whole, rest) = Folder::list(jobs.path()).unwrap();
        assert_eq!((whole.len(), rest.len()), (0, 3));
    }

    #[test]
    fn time_left_never_runs_below_nothing() {
        let check =
            |began, limit, now, want| assert_eq!(left(began, limit, now), Duration::from_millis(want));
        check(100, 50, 100, 50);
        check(100, 50, 130, 20);
        check(100, 50, 1000, 0);
        // The machine was started again meanwhile.
        check(100, 50, 3, 50);
    }
}
