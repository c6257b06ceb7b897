//! The images that this worker has pulled for jobs: which they are, when they were last used, and which go. It must never
//! touch an image that was there before, that somebody else has named too, or that an attempt holds.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bollard::errors::Error;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use ocelot_model::size;
use serde::{Deserialize, Serialize};

use super::Docker;
use super::image::with_tag;
use crate::executor::ExecutorError;
use crate::keep::{Item, Keep};

/// See the module.
#[derive(Debug)]
pub(super) struct Images {
    /// Where the list is kept over restarts.
    file: Option<PathBuf>,
    state: Mutex<State>,
    /// Held for writing while an image is removed: whoever is to hold one waits for the end of that.
    gate: tokio::sync::RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    pulled: BTreeMap<String, Pulled>,
    held: HashMap<String, usize>,
}

/// An image that was not there before this worker pulled it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pulled {
    id: String,
    /// When it was last used, in seconds since 1970.
    used_s: u64,
    /// It was pulled with a credential: whoever wants it has to ask the registry.
    #[serde(default)]
    private: bool,
}

/// While it lives, these images are not removed.
#[derive(Debug)]
pub struct HeldImages {
    images: Arc<Images>,
    names: Vec<String>,
}

impl Drop for HeldImages {
    fn drop(&mut self) {
        let mut state = self.images.state();
        for name in &self.names {
            if let Some(count) = state.held.get_mut(name) {
                *count -= 1;
            }
        }
        state.held.retain(|_, count| *count > 0);
    }
}

impl Images {
    /// Reads the list of an earlier life. One that cannot be read is given up: then those images stay for ever.
    pub(super) fn load(file: Option<PathBuf>) -> Images {
        let read = |path: &PathBuf| match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        let pulled = file.as_ref().map(read).transpose().unwrap_or_else(|error| {
            tracing::warn!("the list of images that were pulled cannot be read: {error}");
            None
        });
        let state = State { pulled: pulled.unwrap_or_default(), held: HashMap::new() };
        Images { file, state: Mutex::new(state), gate: tokio::sync::RwLock::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hold(self: Arc<Images>, names: Vec<String>) -> HeldImages {
        let names: Vec<String> = names.iter().map(|name| key(name)).collect();
        let gate = self.gate.read().await;
        let mut state = self.state();
        for name in &names {
            *state.held.entry(name.clone()).or_default() += 1;
        }
        drop((state, gate));
        HeldImages { images: self, names }
    }

    /// The image `name` is used, and is `id`; before it was pulled, if it was, it was `before`.
    pub(super) fn used(&self, name: &str, before: Option<&str>, pulled: bool, id: &str) {
        let name = key(name);
        let mut state = self.state();
        let ours = state.pulled.get(&name).map(|known| known.id.clone());
        let used_s = now_s();
        match (before, ours) {
            (None, _) if pulled => {}
            (Some(before), Some(ours)) if before == ours => {
                if id != ours {
                    // What the name meant before has no name now.
                    state.pulled.insert(ours.clone(), Pulled { id: ours, used_s, private: false });
                }
            }
            (_, None) => return,
            // Somebody else has given the name to another image.
            (_, Some(_)) => {
                state.pulled.remove(&name);
                return self.save(&state);
            }
        }
        let private = state.pulled.get(&name).is_some_and(|known| known.private);
        state.pulled.insert(name, Pulled { id: id.to_owned(), used_s, private });
        self.save(&state);
    }

    /// It was pulled with a credential, now or once.
    pub(super) fn is_private(&self, name: &str) -> bool {
        self.state().pulled.get(&key(name)).is_some_and(|known| known.private)
    }

    pub(super) fn make_private(&self, name: &str) {
        let mut state = self.state();
        if let Some(known) = state.pulled.get_mut(&key(name)) {
            known.private = true;
            self.save(&state);
        }
    }

    fn forget(&self, name: &str) {
        let mut state = self.state();
        state.pulled.remove(name);
        self.save(&state);
    }

    fn is_held(&self, name: &str) -> bool {
        self.state().held.contains_key(name)
    }

    fn save(&self, state: &State) {
        let Some(path) = &self.file else { return };
        if let Err(error) = write(path, &state.pulled) {
            tracing::warn!("the list of images that were pulled cannot be written: {error}");
        }
    }
}

fn write(path: &Path, pulled: &BTreeMap<String, Pulled>) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(pulled)?)?;
    fs::rename(new, path)
}

/// An image as the engine lists it: with its tag, without what every engine leaves out.
fn key(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    if name.starts_with("sha256:") { name.to_owned() } else { with_tag(name) }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Docker {
    /// Nobody removes these images while the answer lives.
    pub(in crate::executor) async fn hold_images(&self, names: Vec<String>) -> HeldImages {
        Arc::clone(&self.0.images).hold(names).await
    }

    /// Removes what is not to be kept, and with `missing` as many more as free so many bytes. Answers in words what it removed.
    pub(in crate::executor) async fn clean_images(
        &self,
        keep: Keep,
        missing: u64,
    ) -> Result<Vec<String>, ExecutorError> {
        let mut found = Vec::new();
        let pulled = self.0.images.state().pulled.clone();
        for (name, known) in &pulled {
            if let Some(bytes) = self.size_of_ours(name, &known.id, &pulled).await? {
                let unused = Duration::from_secs(now_s().saturating_sub(known.used_s));
                found.push((name, Item { unused, bytes }));
            }
        }
        let items: Vec<Item> = found.iter().map(|(_, item)| *item).collect();
        let mut removed = Vec::new();
        for at in keep.doomed(&items, missing) {
            let (name, item) = found[at];
            if self.remove_image(name).await? {
                removed.push(format!("image {name} ({})", size::words(item.bytes)));
            }
        }
        Ok(removed)
    }

    /// How large the image is, when it is still the one that was pulled, and nobody else uses it by another name. What is not
    /// is forgotten.
    async fn size_of_ours(
        &self,
        name: &str,
        id: &str,
        pulled: &BTreeMap<String, Pulled>,
    ) -> Result<Option<u64>, ExecutorError> {
        let images = &self.0.images;
        let image = match self.0.api.inspect_image(name).await {
            Ok(image) => image,
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                images.forget(name);
                return Ok(None);
            }
            Err(error) => return Err(ExecutorError::engine("looking at an image")(error)),
        };
        let others = image.repo_tags.iter().flatten().any(|tag| !pulled.contains_key(&key(tag)));
        if others || image.id.as_deref() != Some(id) {
            images.forget(name);
            return Ok(None);
        }
        Ok(Some(image.size.unwrap_or_default().max(0).cast_unsigned()))
    }

    /// False when somebody uses it.
    async fn remove_image(&self, name: &str) -> Result<bool, ExecutorError> {
        let images = &self.0.images;
        let _gate = images.gate.write().await;
        if images.is_held(name) {
            return Ok(false);
        }
        let options = RemoveImageOptionsBuilder::new().force(false).build();
        match self.0.api.remove_image(name, Some(options), None).await {
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                images.forget(name);
                Ok(true)
            }
            // A container has it, one of ours or of others.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(false),
            Err(error) => Err(ExecutorError::engine("removing an image")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_engine_lists_them() {
        let check = |name: &str, want: &str| assert_eq!(key(name), want);
        check("busybox", "busybox:latest");
        check("docker.io/library/busybox:1", "busybox:1");
        check("docker.io/a/b", "a/b:latest");
        check("localhost:5000/a", "localhost:5000/a:latest");
        check("sha256:00ff", "sha256:00ff");
    }

    #[test]
    fn only_what_was_pulled_here_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images");
        let images = Images::load(Some(file.clone()));
        let ours = || Images::load(Some(file.clone())).state().pulled.keys().cloned().collect::<Vec<_>>();
        // There before, whether pulled anew or not.
        images.used("a", Some("1"), false, "1");
        images.used("a", Some("1"), true, "2");
        assert!(ours().is_empty());
        images.used("b", None, true, "3");
        images.used("b", Some("3"), false, "3");
        assert_eq!(ours(), ["b:latest"]);
        // The registry has a newer one; the older one loses its name.
        images.used("b", Some("3"), true, "4");
        assert_eq!(ours(), ["3", "b:latest"]);
        // Somebody has built another one under this name.
        images.used("b", Some("5"), false, "5");
        assert_eq!(ours(), ["3"]);
        fs::write(&file, "{").unwrap();
        assert!(ours().is_empty());
    }

    #[tokio::test]
    async fn what_an_attempt_holds_is_held_until_it_ends() {
        let images = Arc::new(Images::load(None));
        let one = Arc::clone(&images).hold(vec!["a".into(), "b".into()]).await;
        let two = Arc::clone(&images).hold(vec!["a:latest".into()]).await;
        drop(one);
        assert!(images.is_held("a:latest") && !images.is_held("b:latest"));
        drop(two);
        assert!(!images.is_held("a:latest"));
    }
}
