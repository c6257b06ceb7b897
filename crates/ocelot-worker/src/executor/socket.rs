//! Connecting to a shim through a folder that is shared with it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use tokio::net::UnixStream;

use super::beneath::Folder;
use super::link::Link;
use super::place::is_name;
use super::{ExecutorError, Place};

/// Longest from the start of a shim to its socket.
const START: Duration = Duration::from_secs(20);

/// Makes a room's folder and holds it. Others may pass through it (a stage of another user reads its script
/// there), but the place around it is the worker's alone.
pub(crate) fn make_io(place: &Place, room: &str) -> Result<(Arc<Folder>, PathBuf), ExecutorError> {
    if !is_name(room) {
        return Err(ExecutorError::Refused(format!("`{room}` cannot be a room's name")));
    }
    let io = place.io(room);
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&io)?;
        fs::set_permissions(&io, fs::Permissions::from_mode(0o711))?;
        Folder::open(&io)
    };
    let folder = make().map_err(ExecutorError::io(format!("making {}", io.display())))?;
    Ok((Arc::new(folder), io))
}

/// Who the shim's files should belong to.
pub(crate) fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Connects to a shim that was started a moment ago.
pub(crate) async fn connect(folder: &Folder) -> Result<(Link, Option<Pid>), ExecutorError> {
    let deadline = tokio::time::Instant::now() + START;
    loop {
        match try_connect(folder).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                let why = folder.file(Path::new("shim.err")).ok();
                if let Some(why) =
                    why.and_then(|file| std::io::read_to_string(std::io::Read::take(file, 1000)).ok())
                {
                    return Err(ExecutorError::Lost(format!("the shim did not start: {why}")));
                }
                if tokio::time::Instant::now() > deadline {
                    return Err(ExecutorError::io("connecting to the shim")(error));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Connects to what listens at `sock` now, and says who that is.
pub(crate) async fn try_connect(folder: &Folder) -> std::io::Result<(Link, Option<Pid>)> {
    let socket = folder.socket(Path::new("sock"))?;
    let stream = UnixStream::connect(Folder::address(&socket)).await?;
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(Pid::from_raw);
    let (read, write) = stream.into_split();
    Ok((Link::new(read, write), pid))
}
