//! Stages as processes of this machine: the same shim, detached, one per room. No isolation at all, so only for
//! jobs that are trusted with the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::beneath::Folder;
use super::files::Files;
use super::link::Link;
use super::room::{Inner, Keeper};
use super::shim::wire::Ask;
use super::shim::{self, wipe};
use super::socket::{self, make_io};
use super::{ExecutorError, Place, Room, RoomSpec};

/// Longest that a shim may take to kill what it has.
const END: Duration = Duration::from_secs(20);

/// Variables of the worker that stages see; all others stay with the worker.
const PASSED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// How the host executor is set up.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// A folder of the worker's own, on a file system that permits execution; the shim is put there.
    pub data: PathBuf,
}

/// Runs stages as processes of this machine, under the worker's own user.
#[derive(Debug, Clone)]
pub struct Host {
    shim: PathBuf,
}

/// The processes of a room.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The shim's process, as the kernel says who listens on the socket.
    pid: Option<Pid>,
}

impl Host {
    pub(super) fn new(config: HostConfig) -> Result<Host, ExecutorError> {
        let HostConfig { data } = config;
        let shim = data.join(format!("shim-{}", *shim::HASH));
        install(&data, &shim).map_err(ExecutorError::io(format!("writing {}", shim.display())))?;
        Ok(Host { shim })
    }

    pub(super) async fn open(&self, place: &Place, spec: &RoomSpec) -> Result<Room, ExecutorError> {
        if let Some(image) = &spec.image {
            let words = format!("the job works in the image {image}, and this worker has no containers");
            return Err(ExecutorError::Refused(words));
        }
        let (folder, io) = make_io(place, &spec.name)?;
        let (uid, gid) = socket::owner();
        let mut command = tokio::process::Command::new(&self.shim);
        command.arg("serve").arg(&io).args([uid.to_string(), gid.to_string()]);
        // The child goes on when this process ends; while it lives, the runtime reaps it.
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(ExecutorError::io("starting the shim"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        match socket::connect(&folder).await {
            Ok((link, _)) => Ok(room(place, &spec.name, &io, folder, link, pid)),
            Err(error) => {
                pid.map(|pid| kill_process(pid, Signal::KILL));
                Err(error)
            }
        }
    }

    pub(super) async fn reattach(&self, place: &Place) -> Result<Vec<Room>, ExecutorError> {
        let mut rooms = Vec::new();
        let Ok(entries) = fs::read_dir(place.folder.join("io")) else { return Ok(rooms) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let folder = Arc::new(Folder::open(&entry.path()).map_err(ExecutorError::io("opening a room"))?);
            let (link, pid) = match socket::try_connect(&folder).await {
                Ok((link, pid)) => (link, pid),
                Err(_) => (Link::lost(), None),
            };
            rooms.push(room(place, &name, &entry.path(), folder, link, pid));
        }
        Ok(rooms)
    }

    pub(super) async fn remove_place(&self, place: &Place) -> Result<(), ExecutorError> {
        remove_folder(&place.folder)
            .await
            .map_err(ExecutorError::io(format!("deleting {}", place.folder.display())))
    }
}

fn room(place: &Place, name: &str, io: &Path, folder: Arc<Folder>, link: Link, pid: Option<Pid>) -> Room {
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    Room::new(Inner {
        name: name.to_owned(),
        keeper: Keeper::Host(Tree { pid }),
        link,
        files: Files::Shared(folder),
        workspace: place.workspace().to_string_lossy().into_owned(),
        io: io.to_string_lossy().into_owned(),
        env: passed.collect(),
    })
}

impl Tree {
    /// Has the shim kill everything, and kills the shim when it does not.
    pub(crate) async fn end(&self, link: &Link) -> Result<(), ExecutorError> {
        let mut news = link.follow("");
        if link.ask(&Ask::Stop).await.is_ok() {
            let gone = tokio::time::timeout(END, news.wait_for(|news| news.lost)).await;
            if matches!(gone, Ok(Ok(_))) {
                return Ok(());
            }
        }
        if news.borrow().lost {
            return Ok(());
        }
        // The stages' own processes see its end and kill what they have.
        if let Some(pid) = self.pid {
            kill_process(pid, Signal::KILL)
                .map_err(|error| ExecutorError::io("ending a job's processes")(error.into()))?;
        }
        Ok(())
    }
}

/// Deletes a folder in which nothing runs any more. Direct: no link is followed, and no process of the job is
/// left that could swap a folder for one.
pub(super) async fn remove_folder(folder: &Path) -> std::io::Result<()> {
    let folder = folder.to_owned();
    let work = move || match wipe::wipe(&folder).and_then(|()| fs::remove_dir(&folder)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Puts the shim there in one step: another worker may be starting it at this moment.
fn install(data: &Path, shim: &Path) -> std::io::Result<()> {
    if fs::read(shim).is_ok_and(|there| there == shim::BYTES) {
        return Ok(());
    }
    fs::create_dir_all(data)?;
    remove_others(data)?;
    let fresh = data.join(format!(".shim-{}", uuid::Uuid::now_v7()));
    fs::write(&fresh, shim::BYTES)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, shim)
}

/// Shims of other versions; those that run do not need their file.
fn remove_others(data: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(data)?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("shim-") || name.starts_with(".shim-")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
