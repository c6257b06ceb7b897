//! Cleaning up: what an earlier life of this worker left, and folders that belong to a container's users.

use std::collections::HashSet;
use std::path::Path;
use std::sync::PoisonError;

use bollard::query_parameters::ListImagesOptionsBuilder;
use ocelot_model::id::AttemptId;

use super::container::{bind, body, host_config, shim_volume};
use super::{Docker, SHIM, label};
use crate::executor::host::remove_folder;
use crate::executor::{ExecutorError, Place};

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
        Ok(removed)
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
