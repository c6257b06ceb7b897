//! What can be asked of a forge, and told it: one set of questions, four languages.
//!
//! Which language it is, is decided here and nowhere else. Every answer is bounded in size and time; a listing that
//! was cut says so. Nothing is asked twice: who calls decides about another try.

use std::time::Duration;

use ocelot_model::event::PullRequest;
use ocelot_model::forge::{Account, RemoteName};
use ocelot_model::{ForgeKind, Status};
use secrecy::SecretString;

use crate::access::Access;
use crate::api_error::ApiError;
use crate::bitbucket::Bitbucket;
use crate::client::Client;
use crate::gitea::Gitea;
use crate::github::Github;
use crate::gitlab::Gitlab;

pub(crate) type Result<T> = std::result::Result<T, ApiError>;

/// A configured forge.
#[derive(Debug)]
pub struct Settings {
    /// What it is called where its requests are counted.
    pub name: String,
    /// Which language it speaks.
    pub kind: ForgeKind,
    /// Its address, as people type it into a browser; the address of its API follows from it.
    pub base_url: String,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones and those of this machine.
    pub ca: Option<String>,
    /// Who asks.
    pub access: Access,
    /// How long one request may take, with its answer.
    pub time: Duration,
}

impl Settings {
    /// Those of the public instance of a kind.
    pub fn new(kind: ForgeKind, access: Access) -> Settings {
        let (name, base_url) = (kind.as_str().to_owned(), public_url(kind).to_owned());
        Settings { name, kind, base_url, ca: None, access, time: Duration::from_secs(30) }
    }
}

/// The address of the public instance of a kind; Gitea's is Codeberg.
pub const fn public_url(kind: ForgeKind) -> &'static str {
    match kind {
        ForgeKind::Github => "https://github.com",
        ForgeKind::Gitlab => "https://gitlab.com",
        ForgeKind::Bitbucket => "https://bitbucket.org",
        ForgeKind::Gitea => "https://codeberg.org",
        ForgeKind::Git => "",
    }
}

/// The settings of a forge cannot be used; says what to change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSettings(pub(crate) String);

/// A forge that can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Forge {
    /// github.com or GitHub Enterprise Server.
    Github(Github),
    /// gitlab.com or one's own GitLab.
    Gitlab(Gitlab),
    /// Bitbucket Cloud.
    Bitbucket(Bitbucket),
    /// Gitea or Forgejo.
    Gitea(Gitea),
}

/// What was found, and whether there is more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// In the forge's order.
    pub items: Vec<T>,
    /// There is more, or some could not be understood.
    pub cut: bool,
}

/// A repository as the forge shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRepo {
    /// Number and full name.
    pub name: RemoteName,
    /// `None` for an empty repository.
    pub default_branch: Option<String>,
    /// Not everybody may read it.
    pub private: bool,
    /// Where to clone it over HTTPS.
    pub clone_https: String,
    /// Where to clone it over ssh.
    pub clone_ssh: String,
}

/// A branch and the commit that it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Without `refs/heads/`.
    pub name: String,
    /// Whole id.
    pub commit: String,
}

/// What lies between two commits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Paths; of a renamed file both the old and the new one.
    pub files: Vec<String>,
    /// Messages of the commits.
    pub messages: Vec<String>,
    /// There is more than what is listed.
    pub cut: bool,
}

/// What the forge shall show at a commit.
#[derive(Debug, Clone, Copy)]
pub struct CommitStatus<'a> {
    /// Whole id.
    pub commit: &'a str,
    /// The forge's nearest word is used.
    pub status: Status,
    /// `ocelot`, or `ocelot/<job>`; a later one of the same context takes its place.
    pub context: &'a str,
    /// One sentence; cut where the forge has no room.
    pub description: &'a str,
    /// The build's page.
    pub link: &'a str,
}

/// A webhook at the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The forge's id of it.
    pub id: String,
    /// Where it sends.
    pub url: String,
    /// The forge uses it.
    pub active: bool,
}

/// How a webhook is made.
#[derive(Debug, Clone, Copy)]
pub struct NewWebhook<'a> {
    /// Where it sends.
    pub url: &'a str,
    /// What it signs with.
    pub secret: &'a SecretString,
}

/// A comment of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// What somebody may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing, or what everybody may.
    None,
    /// Read.
    Read,
    /// Push.
    Write,
    /// Change its settings.
    Admin,
}

/// The same call for whichever forge it is.
macro_rules! each {
    ($self:expr, $forge:ident => $call:expr) => {
        match $self {
            Forge::Github($forge) => $call,
            Forge::Gitlab($forge) => $call,
            Forge::Bitbucket($forge) => $call,
            Forge::Gitea($forge) => $call,
        }
    };
}

impl Forge {
    /// Makes one; asks nobody yet.
    pub fn new(settings: Settings) -> std::result::Result<Forge, BadSettings> {
        let kind = settings.kind;
        let client = Client::new(settings)?;
        match kind {
            ForgeKind::Github => Ok(Forge::Github(Github(client))),
            ForgeKind::Gitlab => Ok(Forge::Gitlab(Gitlab(client))),
            ForgeKind::Bitbucket => Ok(Forge::Bitbucket(Bitbucket(client))),
            ForgeKind::Gitea => Ok(Forge::Gitea(Gitea(client))),
            ForgeKind::Git => Err(BadSettings("plain git has no API".to_owned())),
        }
    }

    /// Tries the credentials. That they do not suffice for what is asked here is no error: they may be for one
    /// repository alone.
    pub async fn check(&self) -> Result<()> {
        match each!(self, forge => forge.check().await) {
            Err(ApiError::Forbidden(_) | ApiError::RateLimited { .. }) => Ok(()),
            other => other,
        }
    }

    /// A token that an OAuth consumer is given, good for five minutes at least; the same one for as long as it lasts.
    pub async fn token(&self) -> Result<SecretString> {
        each!(self, forge => forge.0.token().await)
    }

    /// A repository by its full name.
    pub async fn repo(&self, full_name: &str) -> Result<RemoteRepo> {
        each!(self, forge => forge.repo(full_name).await)
    }

    /// The repositories that the credentials reach; with `owner` only those of that account or group.
    pub async fn repos(&self, owner: Option<&str>) -> Result<Listing<RemoteRepo>> {
        each!(self, forge => forge.repos(owner).await)
    }

    /// A file of a commit, at most [`FILE_MAX`](crate::git::FILE_MAX) + 1 bytes of it; `None` when that commit has no
    /// such file.
    pub async fn file(&self, repo: &str, commit: &str, path: &str) -> Result<Option<Vec<u8>>> {
        match each!(self, forge => forge.file(repo, commit, path).await) {
            // Without rights a forge says the same as without the file.
            Err(ApiError::NotFound(words)) => match self.resolve(repo, commit).await? {
                Some(_) => Ok(None),
                None => Err(ApiError::NotFound(words)),
            },
            other => other.map(Some),
        }
    }

    /// The whole id of the commit that begins with `short`; `None` when there is none.
    pub async fn resolve(&self, repo: &str, short: &str) -> Result<Option<String>> {
        let found = match each!(self, forge => forge.commit(repo, short).await) {
            Err(ApiError::NotFound(_)) => return Ok(None),
            other => other?,
        };
        // Forges take names of branches as well.
        Ok(Some(found).filter(|id| ocelot_model::event::is_commit(id) && id.starts_with(short)))
    }

    /// The files and messages between two commits. After a forced push most forges count from where the two parted.
    pub async fn changes(&self, repo: &str, before: &str, after: &str) -> Result<Changes> {
        match each!(self, forge => forge.changes(repo, before, after).await) {
            Err(ApiError::TooLarge) => Ok(Changes { cut: true, ..Changes::default() }),
            other => other,
        }
    }

    /// All branches and where they are.
    pub async fn branches(&self, repo: &str) -> Result<Listing<Branch>> {
        each!(self, forge => forge.branches(repo).await)
    }

    /// The open pull requests of a repository.
    pub async fn pull_requests(&self, repo: &RemoteName) -> Result<Listing<PullRequest>> {
        each!(self, forge => forge.pull_requests(repo).await)
    }

    /// The files that a pull request changes; of a renamed file both the old and the new one.
    pub async fn pull_request_files(&self, repo: &str, number: u64) -> Result<Listing<String>> {
        match each!(self, forge => forge.pull_request_files(repo, number).await) {
            Err(ApiError::TooLarge) => Ok(Listing { items: Vec::new(), cut: true }),
            other => other,
        }
    }

    /// Shows a status at a commit, in place of an earlier one of the same context.
    pub async fn set_status(&self, repo: &str, status: CommitStatus<'_>) -> Result<()> {
        each!(self, forge => forge.set_status(repo, status).await)
    }

    /// Writes the one comment of `key` at a pull request, or changes it when it is there. `key` shall be a word that
    /// nobody can guess: whoever writes it first owns the place.
    pub async fn comment(&self, repo: &str, number: u64, key: &str, text: &str) -> Result<()> {
        // A link that leads nowhere is the one thing that all of them read and none of them shows.
        let mark = format!("[//]: # (ocelot-{key})");
        let text = format!("{text}\n\n{mark}");
        let found = each!(self, forge => forge.comments(repo, number).await)?;
        match found.items.iter().find(|comment| comment.text.contains(&mark)) {
            Some(old) if old.text == text => Ok(()),
            Some(old) => each!(self, forge => forge.edit_comment(repo, number, &old.id, &text).await),
            None => each!(self, forge => forge.add_comment(repo, number, &text).await),
        }
    }

    /// The webhooks of a repository.
    pub async fn webhooks(&self, repo: &str) -> Result<Listing<Webhook>> {
        each!(self, forge => forge.webhooks(repo).await)
    }

    /// Makes the webhook, or gives the one with this address the secret; there is one of them afterwards. Answers its id.
    pub async fn watch(&self, repo: &str, webhook: NewWebhook<'_>) -> Result<String> {
        let there = self.webhooks(repo).await?.items;
        let mut same = there.into_iter().filter(|there| there.url == webhook.url);
        let Some(first) = same.next() else {
            return each!(self, forge => forge.add_webhook(repo, webhook).await);
        };
        each!(self, forge => forge.edit_webhook(repo, &first.id, webhook).await)?;
        for more in same {
            self.remove_webhook(repo, &more.id).await?;
        }
        Ok(first.id)
    }

    /// Removes all webhooks with this address; answers how many there were.
    pub async fn unwatch(&self, repo: &str, url: &str) -> Result<usize> {
        let there = self.webhooks(repo).await?.items;
        let mut count = 0;
        for webhook in there.iter().filter(|webhook| webhook.url == url) {
            self.remove_webhook(repo, &webhook.id).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn remove_webhook(&self, repo: &str, id: &str) -> Result<()> {
        match each!(self, forge => forge.remove_webhook(repo, id).await) {
            Err(ApiError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// Asks the forge to try a webhook; `false` when it cannot do that.
    pub async fn ping(&self, repo: &str, id: &str) -> Result<bool> {
        each!(self, forge => forge.ping(repo, id).await)
    }

    /// What an account may do in a repository.
    pub async fn permission(&self, repo: &str, account: &Account) -> Result<Permission> {
        each!(self, forge => forge.permission(repo, account).await)
    }
}

/// The first characters of a text that have room in `max`.
pub(crate) fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
