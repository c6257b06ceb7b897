//! Questions to Bitbucket Cloud, and what is told it. Lists name their next page by its address.

use ocelot_model::Status;
use ocelot_model::event::PullRequest;
use ocelot_model::forge::{Account, RemoteName};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Bitbucket;
use super::hook::{Pull, Repository};
use crate::api::{
    Branch, Changes, Comment, CommitStatus, Listing, NewWebhook, Permission, RemoteRepo, Result, Webhook, cut,
};
use crate::api_error::ApiError;
use crate::client::{PAGES_MAX, Place};
use crate::git::FILE_MAX;
use crate::hex;
use crate::payload::message;

const PAGE: (&str, &str) = ("pagelen", "100");
/// Pull requests and comments come in smaller pages.
const SMALL_PAGE: (&str, &str) = ("pagelen", "50");
const DESCRIPTION_MAX: usize = 255;
const KEY_MAX: usize = 40;
const EVENTS: [&str; 5] = [
    "repo:push",
    "pullrequest:created",
    "pullrequest:updated",
    "pullrequest:fulfilled",
    "pullrequest:rejected",
];

#[derive(Deserialize)]
struct Page<T> {
    values: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Repo {
    #[serde(flatten)]
    name: Repository,
    is_private: bool,
    mainbranch: Option<Named>,
    links: RepoLinks,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct RepoLinks {
    #[serde(default)]
    clone: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    name: String,
    href: String,
}

impl Repo {
    fn checked(self) -> Result<RemoteRepo> {
        let clone = |name: &str| {
            let link = self.links.clone.iter().find(|link| link.name == name);
            link.map(|link| without_user(&link.href)).unwrap_or_default()
        };
        Ok(RemoteRepo {
            clone_https: clone("https"),
            clone_ssh: clone("ssh"),
            name: self.name.name().map_err(|error| ApiError::Nonsense(error.to_string()))?,
            default_branch: self.mainbranch.map(|branch| branch.name),
            private: self.is_private,
        })
    }
}

/// Bitbucket writes the name of who asks into HTTPS addresses.
fn without_user(href: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(href) else { return href.to_owned() };
    // An address without a host has no user to take away.
    if url.scheme() == "https" && url.set_username("").is_ok() { url.to_string() } else { href.to_owned() }
}

#[derive(Deserialize)]
struct Reached {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    slug: String,
}

#[derive(Deserialize)]
struct Commit {
    hash: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Diff {
    old: Option<Path>,
    new: Option<Path>,
}

#[derive(Deserialize)]
struct Path {
    path: String,
}

#[derive(Deserialize)]
struct Head {
    name: String,
    target: Commit,
}

#[derive(Deserialize)]
struct OneComment {
    id: u64,
    content: Content,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    raw: String,
}

#[derive(Deserialize)]
struct Hook {
    uuid: String,
    url: String,
    #[serde(default)]
    active: bool,
}

#[derive(Deserialize)]
struct Right {
    permission: String,
}

/// Old and new path, once when they are the same.
fn paths(diff: Diff) -> impl Iterator<Item = String> {
    let (old, new) = (diff.old.map(|side| side.path), diff.new.map(|side| side.path));
    let old = old.filter(|old| new.as_ref() != Some(old));
    old.into_iter().chain(new)
}

impl Bitbucket {
    fn at(&self, repo: &str, path: &[&str], query: &[(&str, &str)]) -> Place {
        let (workspace, name) = repo.split_once('/').unwrap_or((repo, ""));
        let mut all = vec!["repositories", workspace, name];
        all.extend(path);
        self.0.place(workspace, &all, query)
    }

    async fn list<T: DeserializeOwned>(&self, first: Place) -> Result<Listing<T>> {
        let mut items = Vec::new();
        let mut place = first;
        for _ in 0..PAGES_MAX {
            let page: Page<T> = self.0.get(&place).await?;
            items.extend(page.values);
            match page.next {
                Some(next) => place = self.0.next(&place, &next)?,
                None => return Ok(Listing { items, cut: false }),
            }
        }
        Ok(Listing { items, cut: true })
    }

    pub(crate) async fn check(&self) -> Result<()> {
        let place = self.0.place("", &["user", "workspaces"], &[("pagelen", "1")]);
        self.0.get::<Page<Reached>>(&place).await.map(drop)
    }

    pub(crate) async fn repo(&self, repo: &str) -> Result<RemoteRepo> {
        self.0.get::<Repo>(&self.at(repo, &[], &[])).await?.checked()
    }

    pub(crate) async fn repos(&self, owner: Option<&str>) -> Result<Listing<RemoteRepo>> {
        let (owners, mut cut) = match owner {
            Some(owner) => (vec![owner.to_owned()], false),
            None => {
                let all = self.list::<Reached>(self.0.place("", &["user", "workspaces"], &[PAGE])).await?;
                (all.items.into_iter().map(|place| place.workspace.slug).collect(), all.cut)
            }
        };
        let mut items = Vec::new();
        for owner in owners {
            let place = self.0.place(&owner, &["repositories", &owner], &[("role", "member"), PAGE]);
            let found = self.list::<Repo>(place).await?;
            cut |= found.cut;
            for repo in found.items {
                items.push(repo.checked()?);
            }
        }
        Ok(Listing { items, cut })
    }

    pub(crate) async fn file(&self, repo: &str, commit: &str, path: &str) -> Result<Vec<u8>> {
        let path: Vec<&str> = ["src", commit].into_iter().chain(path.split('/')).collect();
        self.0.bytes(&self.at(repo, &path, &[]), "*/*", FILE_MAX).await
    }

    /// The id of what `commit` names.
    pub(crate) async fn commit(&self, repo: &str, commit: &str) -> Result<String> {
        self.0.get::<Commit>(&self.at(repo, &["commit", commit], &[])).await.map(|found| found.hash)
    }

    pub(crate) async fn changes(&self, repo: &str, before: &str, after: &str) -> Result<Changes> {
        let range = format!("{after}..{before}");
        let place = self.at(repo, &["diffstat", &range], &[("topic", "false"), PAGE]);
        let files = self.list::<Diff>(place).await?;
        let place = self.at(repo, &["commits", after], &[("exclude", before), PAGE]);
        let commits = self.list::<Commit>(place).await?;
        let mut changes = Changes {
            files: Vec::new(),
            messages: commits.items.iter().map(|commit| message(&commit.message)).collect(),
            cut: files.cut || commits.cut,
        };
        changes.files.extend(files.items.into_iter().flat_map(paths));
        Ok(changes)
    }

    pub(crate) async fn branches(&self, repo: &str) -> Result<Listing<Branch>> {
        let found = self.list::<Head>(self.at(repo, &["refs", "branches"], &[PAGE])).await?;
        let branch = |head: Head| Branch { name: head.name, commit: head.target.hash };
        Ok(Listing { items: found.items.into_iter().map(branch).collect(), cut: found.cut })
    }

    pub(crate) async fn pull_requests(&self, repo: &RemoteName) -> Result<Listing<PullRequest>> {
        let place = self.at(&repo.full_name, &["pullrequests"], &[("state", "OPEN"), SMALL_PAGE]);
        let found = self.list::<Pull>(place).await?;
        let count = found.items.len();
        let items: Vec<_> =
            found.items.into_iter().filter_map(|pull| pull.checked(repo.clone()).ok()).collect();
        Ok(Listing { cut: found.cut || items.len() < count, items })
    }

    pub(crate) async fn pull_request_files(&self, repo: &str, number: u64) -> Result<Listing<String>> {
        let place = self.at(repo, &["pullrequests", &number.to_string(), "diffstat"], &[PAGE]);
        let found = self.list::<Diff>(place).await?;
        Ok(Listing { items: found.items.into_iter().flat_map(paths).collect(), cut: found.cut })
    }

    pub(crate) async fn set_status(&self, repo: &str, status: CommitStatus<'_>) -> Result<()> {
        let body = json!({
            "key": key(status.context), "name": status.context, "state": word(status.status),
            "url": status.link, "description": cut(status.description, DESCRIPTION_MAX),
        });
        let place = self.at(repo, &["commit", status.commit, "statuses", "build"], &[]);
        // A page for people in its place, with a status that says all is well, is no answer.
        self.0.write(Method::POST, &place, &body).await?.json::<serde::de::IgnoredAny>().map(drop)
    }

    pub(crate) async fn comments(&self, repo: &str, number: u64) -> Result<Listing<Comment>> {
        let place = self.at(
            repo,
            &["pullrequests", &number.to_string(), "comments"],
            &[("sort", "created_on"), PAGE],
        );
        let found = self.list::<OneComment>(place).await?;
        let items = found.items.into_iter().filter(|one| !one.deleted);
        let items = items.map(|one| Comment { id: one.id.to_string(), text: one.content.raw }).collect();
        Ok(Listing { items, cut: found.cut })
    }

    pub(crate) async fn add_comment(&self, repo: &str, number: u64, text: &str) -> Result<()> {
        let place = self.at(repo, &["pullrequests", &number.to_string(), "comments"], &[]);
        self.0.write(Method::POST, &place, &json!({"content": {"raw": text}})).await.map(drop)
    }

    pub(crate) async fn edit_comment(&self, repo: &str, number: u64, id: &str, text: &str) -> Result<()> {
        let place = self.at(repo, &["pullrequests", &number.to_string(), "comments", id], &[]);
        self.0.write(Method::PUT, &place, &json!({"content": {"raw": text}})).await.map(drop)
    }

    pub(crate) async fn webhooks(&self, repo: &str) -> Result<Listing<Webhook>> {
        let found = self.list::<Hook>(self.at(repo, &["hooks"], &[PAGE])).await?;
        let hook = |hook: Hook| Webhook { id: hook.uuid, url: hook.url, active: hook.active };
        Ok(Listing { items: found.items.into_iter().map(hook).collect(), cut: found.cut })
    }

    pub(crate) async fn add_webhook(&self, repo: &str, webhook: NewWebhook<'_>) -> Result<String> {
        let answer = self.0.write(Method::POST, &self.at(repo, &["hooks"], &[]), &hook_body(webhook)).await?;
        Ok(answer.json::<Hook>()?.uuid)
    }

    pub(crate) async fn edit_webhook(&self, repo: &str, id: &str, webhook: NewWebhook<'_>) -> Result<()> {
        self.0.write(Method::PUT, &self.at(repo, &["hooks", id], &[]), &hook_body(webhook)).await.map(drop)
    }

    pub(crate) async fn remove_webhook(&self, repo: &str, id: &str) -> Result<()> {
        self.0.delete(&self.at(repo, &["hooks", id], &[])).await
    }

    /// Bitbucket cannot be asked to try a webhook.
    #[expect(clippy::unused_async, reason = "one of four that are called alike")]
    pub(crate) async fn ping(&self, _repo: &str, _id: &str) -> Result<bool> {
        Ok(false)
    }

    /// Needs credentials of an administrator of the repository.
    pub(crate) async fn permission(&self, repo: &str, account: &Account) -> Result<Permission> {
        let (workspace, name) = repo.split_once('/').unwrap_or((repo, ""));
        let query = format!("user.uuid=\"{{{}}}\"", account.id);
        let path = ["workspaces", workspace, "permissions", "repositories", name];
        let found = self.list::<Right>(self.0.place(workspace, &path, &[("q", &query)])).await?;
        let permission = |right: &Right| match right.permission.as_str() {
            "admin" => Permission::Admin,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => Permission::None,
        };
        Ok(found.items.iter().map(permission).max().unwrap_or(Permission::None))
    }
}

fn hook_body(webhook: NewWebhook<'_>) -> serde_json::Value {
    json!({
        "description": "Ocelot", "url": webhook.url, "active": true, "events": EVENTS,
        "secret": webhook.secret.expose_secret(),
    })
}

/// What tells two statuses of a commit apart; Bitbucket has room for 40 characters.
fn key(context: &str) -> String {
    if context.len() <= KEY_MAX {
        return context.to_owned();
    }
    hex::encode(&Sha256::digest(context)[..KEY_MAX / 2])
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Blocked | Status::Queued | Status::Running => "INPROGRESS",
        Status::Passed | Status::Skipped => "SUCCESSFUL",
        Status::Failed | Status::Error | Status::TimedOut => "FAILED",
        Status::Cancelled => "STOPPED",
    }
}
