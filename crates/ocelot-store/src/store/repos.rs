//! Repositories, forges, and the secrets that both may have.

use ocelot_model::{ForgeId, RepoId, RepoName};
use secrecy::{SecretSlice, SecretString};

use super::{Kind, Store};
use crate::{
    Forge, ForgeChange, Hook, NewForge, NewRepo, NewSecret, RenamedRepo, Repo, RepoChange, Secret,
    StoreError, calls,
};

impl Store {
    /// Adds a repository; [`StoreError::Conflict`] when the handle is taken.
    pub async fn add_repo(&self, repo: &NewRepo, by: &str) -> Result<Repo, StoreError> {
        each!(self, core => core.add_repo(repo, by).await)
    }

    /// By handle.
    pub async fn find_repo(&self, name: &RepoName) -> Result<Option<Repo>, StoreError> {
        each!(self, core => core.find_repo(name).await)
    }

    /// By id.
    pub async fn load_repo(&self, id: RepoId) -> Result<Repo, StoreError> {
        each!(self, core => core.load_repo(id).await)
    }

    /// By what its forge calls it.
    pub async fn find_repo_by_remote_id(
        &self,
        forge: ForgeId,
        remote_id: &str,
    ) -> Result<Option<Repo>, StoreError> {
        each!(self, core => core.find_repo_by_remote_id(forge, remote_id).await)
    }

    /// All, by handle.
    pub async fn list_repos(&self) -> Result<Vec<Repo>, StoreError> {
        each!(self, core => core.list_repos().await)
    }

    /// From now on builds of it wait so; those that were made before stay as they are.
    pub async fn change_repo(&self, id: RepoId, change: RepoChange, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.change_repo(id, change, by).await)
    }

    /// Gives a repository the name, address and default branch that it has at its forge now; its builds stay.
    /// [`StoreError::Conflict`] when another one has that name.
    pub async fn rename_repo(&self, id: RepoId, to: &RenamedRepo) -> Result<Repo, StoreError> {
        each!(self, core => core.rename_repo(id, to).await)
    }

    /// Forgets a repository with its builds and logs; [`StoreError::Conflict`] while a build of it is not terminal.
    pub async fn remove_repo(&self, id: RepoId, by: &str) -> Result<(), StoreError> {
        each_again!(self, calls::LONG, core => core.remove_repo(id, by))
    }

    /// All forges by name. `git` is always there.
    pub async fn list_forges(&self) -> Result<Vec<Forge>, StoreError> {
        each!(self, core => core.list_forges().await)
    }

    /// By name.
    pub async fn find_forge(&self, name: &str) -> Result<Option<Forge>, StoreError> {
        each!(self, core => core.find_forge(name).await)
    }

    /// Adds a forge; [`StoreError::Conflict`] when the name is taken.
    pub async fn add_forge(&self, new: &NewForge, by: &str) -> Result<Forge, StoreError> {
        each!(self, core => core.add_forge(new, by).await)
    }

    /// Gives a forge other credentials, another secret for webhooks of all of its repositories, other authorities.
    pub async fn change_forge(&self, id: ForgeId, change: &ForgeChange, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.change_forge(id, change, by).await)
    }

    /// Forgets a forge; [`StoreError::Conflict`] while it has repositories, and for `git`.
    pub async fn remove_forge(&self, id: ForgeId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_forge(id, by).await)
    }

    /// Who Ocelot is for the forge.
    pub async fn load_forge_access(&self, id: ForgeId) -> Result<Option<SecretString>, StoreError> {
        each!(self, core => core.load_forge_access(id).await)
    }

    /// What the forge signs with when it sends for all of its repositories.
    pub async fn load_forge_hook_secret(&self, id: ForgeId) -> Result<Option<SecretString>, StoreError> {
        each!(self, core => core.load_forge_hook_secret(id).await)
    }

    /// The webhook of a repository; made, with a secret of its own, when there is none.
    pub async fn make_hook(&self, repo: RepoId) -> Result<Hook, StoreError> {
        each_again!(self, core => core.make_hook(repo))
    }

    /// All webhooks.
    pub async fn list_hooks(&self) -> Result<Vec<Hook>, StoreError> {
        each!(self, core => core.list_hooks().await)
    }

    /// By the text in its address.
    pub async fn find_hook(&self, id: &str) -> Result<Option<Hook>, StoreError> {
        each!(self, core => core.find_hook(id).await)
    }

    /// Whether the forge has the webhook of each repository that has one.
    pub async fn list_watched(&self) -> Result<Vec<(RepoId, bool)>, StoreError> {
        each!(self, core => core.list_watched().await)
    }

    /// The webhook of a repository, if it has one.
    pub async fn find_hook_of(&self, repo: RepoId) -> Result<Option<Hook>, StoreError> {
        each!(self, core => core.find_hook_of(repo).await)
    }

    /// Notes what the forge calls it.
    pub async fn name_hook(&self, id: &str, remote_id: &str, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.name_hook(id, remote_id, by).await)
    }

    /// Forgets the webhook of a repository.
    pub async fn remove_hook(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_hook(repo, by).await)
    }

    /// Makes a secret or credential, or changes the one of the same scope and name; answers whether it is new.
    /// [`StoreError::NotFound`] when its repository is not there.
    pub async fn put_secret(&self, new: &NewSecret) -> Result<(Secret, bool), StoreError> {
        each_again!(self, core => core.put_secret(new))
    }

    /// All secrets and credentials, by name, without their values.
    pub async fn list_secrets(&self) -> Result<Vec<Secret>, StoreError> {
        each!(self, core => core.list_secrets().await)
    }

    /// By id.
    pub async fn find_secret(&self, id: i64) -> Result<Option<Secret>, StoreError> {
        each!(self, core => core.find_secret(id).await)
    }

    /// Forgets a secret.
    pub async fn remove_secret(&self, id: i64, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_secret(id, by).await)
    }

    /// The secrets that a repository may have: of each name the one of the nearest scope.
    pub async fn secrets_in_reach(&self, id: RepoId, name: &RepoName) -> Result<Vec<Secret>, StoreError> {
        each!(self, core => core.secrets_in_reach(id, name).await)
    }

    /// The values of secrets. Those that are gone are not among them.
    pub async fn open_secrets(&self, ids: &[i64]) -> Result<Vec<(i64, SecretSlice<u8>)>, StoreError> {
        each!(self, core => core.open_secrets(ids).await)
    }
}
