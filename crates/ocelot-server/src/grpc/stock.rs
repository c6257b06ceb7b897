//! What workers have at hand already: mirrors of repositories and images. Pure.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

/// Mirrors, and images, that are remembered of one worker at most.
const MOST: usize = 5_000;

/// What one worker has, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Stock {
    mirrors: HashSet<String>,
    images: HashSet<String>,
}

/// What one job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// Name of the mirror, as workers call it.
    pub(super) mirror: String,
    /// The image.
    pub(super) image: Option<String>,
}

impl Need {
    /// Of a job of the repository with this clone URL.
    pub(super) fn new(clone_url: &str, image: Option<&str>) -> Need {
        let hash = Sha256::digest(clone_url);
        let mirror = hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Need { mirror, image: image.map(str::to_owned) }
    }
}

impl Stock {
    /// These are the worker's mirrors, by its own word.
    pub(super) fn set_mirrors(&mut self, names: Vec<String>) {
        self.mirrors = names.into_iter().filter(|name| name.len() <= 64).take(MOST).collect();
    }

    /// The worker took such a job, so it will have what the job needs.
    pub(super) fn learn(&mut self, need: &Need) {
        if self.mirrors.len() < MOST {
            self.mirrors.insert(need.mirror.clone());
        }
        if let Some(image) = need.image.as_ref().filter(|_| self.images.len() < MOST) {
            self.images.insert(image.clone());
        }
    }

    pub(super) fn has_mirror(&self, need: &Need) -> bool {
        self.mirrors.contains(&need.mirror)
    }

    /// How much of it is there: the mirror weighs more than the image.
    pub(super) fn score(&self, need: &Need) -> u32 {
        let image = need.image.as_ref().is_some_and(|image| self.images.contains(image));
        2 * u32::from(self.has_mirror(need)) + u32::from(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_named_as_workers_name_them() {
        let need = Need::new("https://example.com/example.git", None);
        assert_eq!(need.mirror, "4e7bdbf825b6b572");
    }
}
