//! The workspace's way into a container when no folder is shared with the engine.

use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bollard::query_parameters::UploadToContainerOptionsBuilder;
use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;

use super::{Container, Sharing};
use crate::executor::{ExecutorError, File, User};

impl Container {
    pub(crate) async fn bring_workspace(&self, owner: User) -> Result<(), ExecutorError> {
        if *self.docker.sharing().borrow() != Some(Sharing::None) {
            return Ok(());
        }
        let (blocks, stream) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(16);
        let workspace = self.place.workspace();
        let packing = tokio::task::spawn_blocking(move || pack(&workspace, owner, Blocks::new(blocks)));
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let body = bollard::body_try_stream(ReceiverStream::new(stream));
        let sent = self.docker.0.api.upload_to_container(&self.id, Some(options), body).await;
        let packed = packing.await.map_err(std::io::Error::other).flatten();
        sent.map_err(ExecutorError::engine("copying the workspace into the container"))?;
        packed.map_err(ExecutorError::io("packing the workspace"))
    }
}

impl Container {
    /// Writes files that only `owner` may read. Folders below `home` that are missing are the owner's, too.
    pub(crate) async fn put(&self, files: &[File], home: &str, owner: User) -> Result<(), ExecutorError> {
        let archive = archive(files, home, owner).map_err(ExecutorError::io("packing a job's files"))?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let body = bollard::body_full(archive.into());
        let sent = self.docker.0.api.upload_to_container(&self.id, Some(options), body).await;
        sent.map_err(ExecutorError::engine("copying a job's files into the container"))
    }
}

fn archive(files: &[File], home: &str, owner: User) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut folders = std::collections::BTreeSet::new();
    let home = Path::new(home);
    for file in files {
        let below =
            Path::new(&file.path).ancestors().skip(1).filter(|path| path.starts_with(home) && *path != home);
        folders.extend(below.map(Path::to_owned));
    }
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.uid.into());
        header.set_gid(owner.gid.into());
        header.set_size(size);
        header
    };
    let relative = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    for folder in &folders {
        let mut folder_header = header(tar::EntryType::Directory, 0o700, 0);
        archive.append_data(&mut folder_header, relative(folder), std::io::empty())?;
    }
    for file in files {
        let mut file_header = header(tar::EntryType::Regular, 0o600, file.content.len() as u64);
        archive.append_data(&mut file_header, relative(Path::new(&file.path)), &file.content[..])?;
    }
    archive.into_inner()
}

/// Everything with its mode, links as links, all of it the job's user's.
fn pack(workspace: &Path, owner: User, out: Blocks) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(out);
    let mut folders = vec![(workspace.to_owned(), std::path::PathBuf::from("ocelot/workspace"))];
    while let Some((folder, name)) = folders.pop() {
        append(&mut archive, &folder, &name, owner)?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                folders.push((path, name));
            } else {
                append(&mut archive, &path, &name, owner)?;
            }
        }
    }
    archive.into_inner()?.flush()
}

fn append(archive: &mut tar::Builder<Blocks>, path: &Path, name: &Path, owner: User) -> std::io::Result<()> {
    let what = std::fs::symlink_metadata(path)?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(what.mode() & 0o7777);
    header.set_mtime(what.mtime().max(0).cast_unsigned());
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    header.set_size(0);
    if what.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        archive.append_data(&mut header, name, std::io::empty())
    } else if what.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        archive.append_link(&mut header, name, std::fs::read_link(path)?)
    } else if what.is_file() {
        header.set_size(what.len());
        archive.append_data(&mut header, name, std::fs::File::open(path)?)
    } else {
        Ok(())
    }
}

/// Cuts the archive into blocks for the request's body; ends when the request has.
struct Blocks {
    out: tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>,
    block: Vec<u8>,
}

impl Blocks {
    const SIZE: usize = 256 << 10;

    fn new(out: tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>) -> Blocks {
        Blocks { out, block: Vec::with_capacity(Self::SIZE) }
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= Self::SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(Self::SIZE));
        let gone = |_| std::io::ErrorKind::BrokenPipe.into();
        self.out.blocking_send(Ok(block.into())).map_err(gone)
    }
}
