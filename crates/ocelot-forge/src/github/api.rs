//! Questions to GitHub, and what is told it.

use ocelot_model::Status;
use ocelot_model::event::PullRequest;
use ocelot_model::forge::{Account, RemoteName};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::Github;
use super::hook::{Pull, User};
use crate::api::{
    Branch, Changes, Comment, CommitStatus, Listing, NewWebhook, Permission, RemoteRepo, Result, Webhook, cut,
};
use crate::api_error::ApiError;
use crate::client::Place;
use crate::git::FILE_MAX;
use crate::payload::message;

/// GitHub lists no more files between two commits.
const FILES_MAX: usize = 300;
/// And no more of a pull request.
const PULL_FILES_MAX: usize = 3000;
const DESCRIPTION_MAX: usize = 140;
const EVENTS: [&str; 3] = ["push", "pull_request", "merge_group"];

#[derive(Deserialize)]
pub(crate) struct Repo {
    id: u64,
    full_name: String,
    default_branch: Option<String>,
    private: bool,
    clone_url: String,
    ssh_url: String,
}

impl From<Repo> for RemoteRepo {
    fn from(repo: Repo) -> RemoteRepo {
        RemoteRepo {
            name: RemoteName { id: Some(repo.id.into()), full_name: repo.full_name },
            default_branch: repo.default_branch.filter(|branch| !branch.is_empty()),
            private: repo.private,
            clone_https: repo.clone_url,
            clone_ssh: repo.ssh_url,
        }
    }
}

#[derive(Deserialize)]
struct Installed {
    repositories: Vec<Repo>,
}

#[derive(Deserialize)]
struct Comparison {
    #[serde(default)]
    files: Vec<File>,
    commits: Vec<Commit>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    previous_filename: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    commit: Message,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Head {
    name: String,
    commit: Sha,
}

#[derive(Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Deserialize)]
struct OneComment {
    id: u64,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Hook {
    id: u64,
    active: bool,
    config: HookConfig,
}

#[derive(Deserialize)]
struct HookConfig {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Right {
    permission: String,
    user: Option<User>,
}

impl Github {
    /// A place in a repository `owner/name`.
    fn at(&self, repo: &str, path: &[&str], query: &[(&str, &str)]) -> Place {
        let (owner, name) = repo.split_once('/').unwrap_or((repo, ""));
        let mut all = vec!["repos", owner, name];
        all.extend(path);
        self.0.place(owner, &all, query)
    }

    pub(crate) async fn check(&self) -> Result<()> {
        if self.0.installations().await?.is_some() {
            return Ok(());
        }
        let place = self.0.place("", &["user", "repos"], &[("per_page", "1")]);
        self.0.get::<Vec<Repo>>(&place).await.map(drop)
    }

    pub(crate) async fn repo(&self, repo: &str) -> Result<RemoteRepo> {
        self.0.get::<Repo>(&self.at(repo, &[], &[])).await.map(Into::into)
    }

    pub(crate) async fn repos(&self, owner: Option<&str>) -> Result<Listing<RemoteRepo>> {
        let is_wanted = |login: &str| owner.is_none_or(|owner| owner.eq_ignore_ascii_case(login));
        let (mut items, mut cut) = (Vec::new(), false);
        let full = [("per_page", "100")];
        match self.0.installations().await? {
            Some(places) => {
                for place in places.iter().filter(|place| is_wanted(&place.account.login)) {
                    let at = self.0.place(&place.account.login, &["installation", "repositories"], &full);
                    cut |= self.0.pages(&at, |page: Installed| items.extend(page.repositories)).await?;
                }
            }
            None => {
                let at = self.0.place("", &["user", "repos"], &full);
                cut = self.0.pages(&at, |page: Vec<Repo>| items.extend(page)).await?;
            }
        }
        items.retain(|repo| repo.full_name.split_once('/').is_some_and(|(login, _)| is_wanted(login)));
        Ok(Listing { items: items.into_iter().map(Into::into).collect(), cut })
    }

    pub(crate) async fn file(&self, repo: &str, commit: &str, path: &str) -> Result<Vec<u8>> {
        let path: Vec<&str> = std::iter::once("contents").chain(path.split('/')).collect();
        let place = self.at(repo, &path, &[("ref", commit)]);
        self.0.bytes(&place, "application/vnd.github.raw+json", FILE_MAX).await
    }

    /// The id of what `commit` names.
    pub(crate) async fn commit(&self, repo: &str, commit: &str) -> Result<String> {
        let place = self.at(repo, &["commits", commit], &[]);
        match self.0.bytes(&place, "application/vnd.github.sha", 100).await {
            Ok(id) => Ok(String::from_utf8_lossy(&id).trim().to_owned()),
            // Its word for no such commit.
            Err(ApiError::Refused { status: 422, words }) => Err(ApiError::NotFound(words)),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn changes(&self, repo: &str, before: &str, after: &str) -> Result<Changes> {
        let range = format!("{before}...{after}");
        let place = self.at(repo, &["compare", &range], &[("per_page", "100")]);
        let mut changes = Changes::default();
        let is_more = self
            .0
            .pages(&place, |page: Comparison| {
                // All files stand on the first page; some servers repeat them.
                if changes.files.is_empty() {
                    changes.cut = page.files.len() >= FILES_MAX;
                    let names =
                        page.files.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]);
                    changes.files.extend(names.flatten());
                }
                changes.messages.extend(page.commits.iter().map(|one| message(&one.commit.message)));
            })
            .await?;
        changes.cut |= is_more;
        Ok(changes)
    }

    pub(crate) async fn branches(&self, repo: &str) -> Result<Listing<Branch>> {
        let place = self.at(repo, &["branches"], &[("per_page", "100")]);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<Head>| {
                items
                    .extend(page.into_iter().map(|head| Branch { name: head.name, commit: head.commit.sha }));
            })
            .await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn pull_requests(&self, repo: &RemoteName) -> Result<Listing<PullRequest>> {
        let place = self.at(&repo.full_name, &["pulls"], &[("state", "open"), ("per_page", "100")]);
        let mut all = Vec::new();
        let is_more = self.0.pages(&place, |page: Vec<Pull>| all.extend(page)).await?;
        let count = all.len();
        let items: Vec<_> = all.into_iter().filter_map(|pull| pull.checked(repo.clone()).ok()).collect();
        Ok(Listing { cut: is_more || items.len() < count, items })
    }

    pub(crate) async fn pull_request_files(&self, repo: &str, number: u64) -> Result<Listing<String>> {
        let place = self.at(repo, &["pulls", &number.to_string(), "files"], &[("per_page", "100")]);
        let mut items = Vec::new();
        let mut count = 0;
        let is_more = self
            .0
            .pages(&place, |page: Vec<File>| {
                count += page.len();
                let names = page.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]);
                items.extend(names.flatten());
            })
            .await?;
        Ok(Listing { items, cut: is_more || count >= PULL_FILES_MAX })
    }

    pub(crate) async fn set_status(&self, repo: &str, status: CommitStatus<'_>) -> Result<()> {
        let body = json!({
            "state": word(status.status), "context": status.context, "target_url": status.link,
            "description": cut(status.description, DESCRIPTION_MAX),
        });
        let place = self.at(repo, &["statuses", status.commit], &[]);
        // A page for people in its place, with a status that says all is well, is no answer.
        self.0.write(Method::POST, &place, &body).await?.json::<serde::de::IgnoredAny>().map(drop)
    }

    pub(crate) async fn comments(&self, repo: &str, number: u64) -> Result<Listing<Comment>> {
        let number = number.to_string();
        let place = self.at(repo, &["issues", &number, "comments"], &[("per_page", "100")]);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<OneComment>| {
                items.extend(
                    page.into_iter()
                        .map(|one| Comment { id: one.id.to_string(), text: one.body.unwrap_or_default() }),
                );
            })
            .await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn add_comment(&self, repo: &str, number: u64, text: &str) -> Result<()> {
        let place = self.at(repo, &["issues", &number.to_string(), "comments"], &[]);
        self.0.write(Method::POST, &place, &json!({"body": text})).await.map(drop)
    }

    pub(crate) async fn edit_comment(&self, repo: &str, _number: u64, id: &str, text: &str) -> Result<()> {
        let place = self.at(repo, &["issues", "comments", id], &[]);
        self.0.write(Method::PATCH, &place, &json!({"body": text})).await.map(drop)
    }

    pub(crate) async fn webhooks(&self, repo: &str) -> Result<Listing<Webhook>> {
        let place = self.at(repo, &["hooks"], &[("per_page", "100")]);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<Hook>| {
                items.extend(page.into_iter().map(|hook| Webhook {
                    id: hook.id.to_string(),
                    url: hook.config.url.unwrap_or_default(),
                    active: hook.active,
                }));
            })
            .await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn add_webhook(&self, repo: &str, webhook: NewWebhook<'_>) -> Result<String> {
        let answer = self.0.write(Method::POST, &self.at(repo, &["hooks"], &[]), &hook_body(webhook)).await?;
        Ok(answer.json::<Hook>()?.id.to_string())
    }

    pub(crate) async fn edit_webhook(&self, repo: &str, id: &str, webhook: NewWebhook<'_>) -> Result<()> {
        self.0.write(Method::PATCH, &self.at(repo, &["hooks", id], &[]), &hook_body(webhook)).await.map(drop)
    }

    pub(crate) async fn remove_webhook(&self, repo: &str, id: &str) -> Result<()> {
        self.0.delete(&self.at(repo, &["hooks", id], &[])).await
    }

    pub(crate) async fn ping(&self, repo: &str, id: &str) -> Result<bool> {
        let place = self.at(repo, &["hooks", id, "pings"], &[]);
        self.0.write(Method::POST, &place, &json!({})).await.map(|_| true)
    }

    pub(crate) async fn permission(&self, repo: &str, account: &Account) -> Result<Permission> {
        let place = self.at(repo, &["collaborators", &account.name, "permission"], &[]);
        let right = match self.0.get::<Right>(&place).await {
            Err(ApiError::NotFound(_)) => return Ok(Permission::None),
            other => other?,
        };
        // It is asked by name, and names change hands.
        if right.user.is_none_or(|user| user.is_not(account)) {
            return Ok(Permission::None);
        }
        Ok(permission(&right.permission))
    }
}

/// Also Gitea's words.
pub(crate) fn permission(word: &str) -> Permission {
    match word {
        "owner" | "admin" => Permission::Admin,
        "write" => Permission::Write,
        "read" => Permission::Read,
        _ => Permission::None,
    }
}

fn hook_body(webhook: NewWebhook<'_>) -> serde_json::Value {
    json!({
        "name": "web", "active": true, "events": EVENTS,
        "config": {
            "url": webhook.url, "content_type": "json", "insecure_ssl": "0",
            "secret": webhook.secret.expose_secret(),
        },
    })
}

/// Gitea has the same words.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Blocked | Status::Queued | Status::Running => "pending",
        Status::Passed | Status::Skipped => "success",
        Status::Failed => "failure",
        Status::Error | Status::TimedOut | Status::Cancelled => "error",
    }
}
