//! Cleaning up: what an earlier life of this worker left, and folders that belong to a container's users.

use std::collections::HashSet;
use std::path::Path;
use std::sync::PoisonError;

use bollard::query_parameters::{ListImagesOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions};
use ocelot_model::id::AttemptId;

use super::container::{bind, body, host_config, shim_volume};
use super::{Docker, SHIM, label};
use crate::executor::host::remove_folder;
use crate::executor::shim;
use crate::executor::{ExecutorError, Place};

/// Younger volumes stay: two workers of different versions would take turns in removing what the other one makes.
const SHIM_AGE: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Where the folder that is emptied is, inside the container that does it.
const EMPTIED: &str = "/ocelot/emptied";

impl Docker {
    pub(in crate::executor) async fn sweep(&self, keep: &[AttemptId]) -> Result<Vec<String>, ExecutorError> {
        let keep: HashSet<String> = keep.iter().map(ToString::to_string).collect();
        let mut removed = Vec::new();
        for (id, labels) in self.containers(None).await? {
            let attempt = labels.get(label::ATTEMPT).map_or("", String::as_str);
            if !keep.contains(attempt) {
                self.remove_container(&id).await?;
                removed.push(format!("container {} of attempt {attempt}", id.get(..12).unwrap_or(&id)));
            }
        }
        // A network by a slot's own name is kept for the next job; others were makeshifts.
        for (name, in_use) in self.networks().await? {
            let own_name = name.rsplit_once("-slot-").is_some_and(|(_, slot)| !slot.contains('-'));
            if !in_use && !own_name {
                self.remove_network(&name).await?;
                removed.push(format!("network {name}"));
            }
        }
        self.sweep_shims().await?;
        Ok(removed)
    }

    /// Volumes with the shim of another version, when no container has them. A worker of that version fills its own again.
    async fn sweep_shims(&self) -> Result<(), ExecutorError> {
        let filter = [("label".to_owned(), vec![label::SHIM.to_owned()])].into();
        let options = ListVolumesOptionsBuilder::new().filters(&filter).build();
        let list =
            self.0.api.list_volumes(Some(options)).await.map_err(ExecutorError::engine("listing volumes"))?;
        let old = list.volumes.into_iter().flatten().filter(|volume| {
            let other = volume.labels.get(label::SHIM) != Some(&*shim::HASH);
            other && volume.created_at.as_deref().is_none_or(is_old)
        });
        for volume in old {
            match self.0.api.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
                Ok(()) => tracing::info!("a leftover was removed: volume {}", volume.name),
                // Gone, or in use.
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
                Err(error) => return Err(ExecutorError::engine("removing a volume")(error)),
            }
        }
        Ok(())
    }

    pub(in crate::executor) async fn leave(&self) -> Result<(), ExecutorError> {
        for (name, in_use) in self.networks().await? {
            if !in_use {
                self.remove_network(&name).await?;
            }
        }
        Ok(())
    }

    pub(in crate::executor) async fn remove_place(&self, place: &Place) -> Result<(), ExecutorError> {
        match remove_folder(&place.folder).await {
            // Files of a container's root or user, and a worker that is neither.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                self.empty_by_container(place).await?;
                remove_folder(&place.folder).await
            }
            other => other,
        }
        .map_err(ExecutorError::io(format!("deleting {}", place.folder.display())))
    }

    async fn empty_by_container(&self, place: &Place) -> Result<(), ExecutorError> {
        let image = self.some_image().await?;
        let sharing = self.prepare(&place.folder, &image).await?;
        let Some(outside) = sharing.outside(&place.folder) else { return Ok(()) };
        let code = self.empty(place, &image, &outside).await?;
        if code == 0 {
            return Ok(());
        }
        let message = format!("the container that deletes it ended with {code}");
        Err(ExecutorError::Engine { what: format!("deleting {}", place.folder.display()), message })
    }

    async fn empty(&self, place: &Place, image: &str, outside: &Path) -> Result<i64, ExecutorError> {
        let arguments = vec!["wipe".to_owned(), EMPTIED.to_owned()];
        let mut host = host_config(vec![shim_volume(true), bind(outside, EMPTIED)]);
        host.network_mode = Some("none".into());
        host.cap_add = Some(vec!["DAC_OVERRIDE".into(), "FOWNER".into()]);
        let mut request = body(image, self.labels(place, ".wipe"), SHIM, arguments);
        request.host_config = Some(host);
        let failed = "making a container that deletes a folder";
        let made = self.0.api.create_container(None, request).await.map_err(ExecutorError::engine(failed))?;
        let code = match self.0.api.start_container(&made.id, None).await {
            Ok(()) => self.wait(&made.id).await,
            Err(error) => Err(ExecutorError::engine(failed)(error)),
        };
        self.remove_container(&made.id).await?;
        code
    }

    /// Any image that the engine has: nothing of it is started.
    pub(super) async fn some_image(&self) -> Result<String, ExecutorError> {
        let image = self.any_image().await?;
        image.ok_or_else(|| {
            ExecutorError::Refused("the engine has no image to start a container of ours with".into())
        })
    }

    pub(super) async fn any_image(&self) -> Result<Option<String>, ExecutorError> {
        let known = self.0.some_image.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let images = self.0.api.list_images(Some(ListImagesOptionsBuilder::new().build())).await;
        let images = images.map_err(ExecutorError::engine("listing images"))?;
        Ok(images.into_iter().next().map(|image| image.id))
    }
}

/// Whether something was made long ago; what cannot be read was.
fn is_old(made_at: &str) -> bool {
    let made: Option<jiff::Timestamp> = made_at.parse().ok();
    made.is_none_or(|made| jiff::Timestamp::now().duration_since(made) > SHIM_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_volumes() {
        assert!(is_old("2021-06-01T10:00:00Z") && is_old("2021-06-01T10:00:00+02:00") && is_old("?"));
        assert!(!is_old(&jiff::Timestamp::now().to_string()));
    }
}
