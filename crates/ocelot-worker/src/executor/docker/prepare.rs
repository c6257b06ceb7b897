//! Once per engine: brings the shim to it, and finds out how folders are shared. One container does both.
//!
//! The shim is uploaded under a fresh name and moves itself to its own, so that no other worker ever starts
//! half a program.

use std::path::Path;

use bollard::query_parameters::UploadToContainerOptionsBuilder;

use super::container::{bind, body, host_config, shim_volume};
use super::{Docker, IO, SHIM, SHIM_DIR, Sharing, label};
use crate::executor::ExecutorError;
use crate::executor::error::engine_words;
use crate::executor::shim;

impl Docker {
    /// How folders are shared; the shim is at its place afterwards. Any image will do: none of it runs.
    pub(super) async fn prepare(&self, folder: &Path, image: &str) -> Result<Sharing, ExecutorError> {
        let mut prepared = self.0.prepared.lock().await;
        if let Some(sharing) = &*prepared {
            return Ok(sharing.clone());
        }
        let candidates = match &self.0.config.sharing {
            Some(sharing) => vec![sharing.clone()],
            None => self.mapped(folder).await.into_iter().chain([Sharing::Same, Sharing::None]).collect(),
        };
        let forced = candidates.len() == 1;
        for sharing in candidates {
            let seen = self.probe(folder, image, &sharing).await?;
            if seen {
                tracing::info!(?sharing, engine = self.0.version, "prepared the Docker Engine");
                *prepared = Some(sharing.clone());
                self.0.sharing.send_replace(Some(sharing.clone()));
                return Ok(sharing);
            }
            if forced {
                let folder = folder.display();
                return Err(ExecutorError::Refused(format!(
                    "the Docker Engine does not see the folder {folder}"
                )));
            }
        }
        Err(ExecutorError::Lost("the Docker Engine could not be prepared".into()))
    }

    /// Installs the shim by a container that writes a word into a folder of ours; true when we see it.
    async fn probe(&self, folder: &Path, image: &str, sharing: &Sharing) -> Result<bool, ExecutorError> {
        let nonce = uuid::Uuid::now_v7().to_string();
        let folder = folder.join(format!("probe-{nonce}"));
        std::fs::create_dir_all(&folder).map_err(ExecutorError::io("making a folder for a probe"))?;
        let result = self.probe_in(image, sharing, &folder, &nonce).await;
        let word = std::fs::read_to_string(folder.join("word"));
        let _ = std::fs::remove_dir_all(&folder);
        let bound = result?;
        Ok(*sharing == Sharing::None || bound && word.is_ok_and(|word| word == nonce))
    }

    /// False when the engine does not have the folder at all.
    async fn probe_in(
        &self,
        image: &str,
        sharing: &Sharing,
        folder: &Path,
        nonce: &str,
    ) -> Result<bool, ExecutorError> {
        let fresh = format!("{SHIM_DIR}/{nonce}");
        let outside = sharing.outside(folder);
        let word = outside.as_ref().map(|_| format!("{IO}/word")).unwrap_or_default();
        let arguments = ["install", &fresh, SHIM, nonce, &word].map(str::to_owned);
        let mounts = outside.iter().map(|outside| bind(outside, IO)).chain([shim_volume(false)]).collect();
        let mut host = host_config(mounts);
        host.network_mode = Some("none".into());
        host.cap_add = Some(vec!["DAC_OVERRIDE".into()]);
        let mut labels = self.own_labels();
        labels.insert(label::ROOM.to_owned(), ".probe".to_owned());
        let mut request = body(image, labels, &fresh, arguments.into());
        request.host_config = Some(host);
        let made = match self.0.api.create_container(None, request).await {
            Ok(made) => made,
            Err(error) if engine_words(&error).contains("bind source path does not exist") => {
                return Ok(false);
            }
            Err(error) => {
                return Err(ExecutorError::engine("making a container to prepare the engine")(error));
            }
        };
        let done = self.upload_and_run(&made.id, nonce).await;
        self.remove_container(&made.id).await?;
        let code = done?;
        // Without the word the shim may still have been installed: the next candidate will tell.
        Ok(code == 0)
    }

    async fn upload_and_run(&self, id: &str, name: &str) -> Result<i64, ExecutorError> {
        let options = UploadToContainerOptionsBuilder::new().path(SHIM_DIR).build();
        let archive = archive(name).map_err(ExecutorError::io("packing the shim"))?;
        let body = bollard::body_full(archive.into());
        let sent = self.0.api.upload_to_container(id, Some(options), body).await;
        sent.map_err(ExecutorError::engine("bringing the shim to the engine"))?;
        let started = self.0.api.start_container(id, None).await;
        started.map_err(ExecutorError::engine("starting the shim on the engine"))?;
        self.wait(id).await
    }

    /// When this worker is a container itself: the mount of its own that holds the folder.
    async fn mapped(&self, folder: &Path) -> Option<Sharing> {
        let id = own_container(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        let what = self.0.api.inspect_container(&id, None).await.ok()?;
        let mounts = what.mounts?.into_iter().filter_map(|mount| Some((mount.destination?, mount.source?)));
        let (inside, outside) =
            mounts.filter(|(inside, _)| folder.starts_with(inside)).max_by_key(|(inside, _)| inside.len())?;
        Some(Sharing::Mapped { inside: inside.into(), outside: outside.into() })
    }
}

/// The id of the container that this process is in: engines mount files of it into every container.
fn own_container(mountinfo: &str) -> Option<String> {
    let (_, rest) = mountinfo.lines().find_map(|line| {
        line.contains(" /etc/hostname ").then(|| line.split_once("/containers/")).flatten()
    })?;
    let id = rest.split('/').next()?;
    (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn archive(name: &str) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(shim::BYTES.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, shim::BYTES)?;
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_containers() {
        let id = "0123456789abcdef".repeat(4);
        let check = |line: &str, want: Option<&str>| assert_eq!(own_container(line).as_deref(), want);
        let inside = format!(
            "612 600 254:1 /var/lib/docker/containers/{id}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda1 rw\n\
             613 600 254:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda1 rw"
        );
        check(&inside, Some(&id));
        check("25 30 0:23 / /sys rw - sysfs sysfs rw", None);
        check("1 2 3:4 /containers/../../x /etc/hostname rw", None);
    }
}
