//! Questions to Gitea and Forgejo, and what is told them.

use ocelot_model::event::PullRequest;
use ocelot_model::forge::{Account, RemoteName};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::Gitea;
use crate::api::{
    Branch, Changes, Comment, CommitStatus, Listing, NewWebhook, Permission, RemoteRepo, Result, Webhook, cut,
};
use crate::api_error::ApiError;
use crate::client::Place;
use crate::git::FILE_MAX;
use crate::github::hook::{Pull, User};
use crate::github::{permission, word};
use crate::payload::message;

/// The largest page that servers allow by default.
const PAGE: (&str, &str) = ("limit", "50");
const DESCRIPTION_MAX: usize = 255;
/// `pull_request` stands for all that happens to one.
const EVENTS: [&str; 3] = ["push", "delete", "pull_request"];

#[derive(Deserialize)]
struct Repo {
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
struct Comparison {
    #[serde(default)]
    commits: Vec<Commit>,
}

#[derive(Deserialize)]
struct Commit {
    commit: Message,
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    previous_filename: Option<String>,
}

#[derive(Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Deserialize)]
struct Head {
    name: String,
    commit: HeadCommit,
}

#[derive(Deserialize)]
struct HeadCommit {
    id: String,
}

#[derive(Deserialize)]
struct OneComment {
    id: u64,
    body: String,
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

impl Gitea {
    fn at(&self, repo: &str, path: &[&str], query: &[(&str, &str)]) -> Place {
        let (owner, name) = repo.split_once('/').unwrap_or((repo, ""));
        let mut all = vec!["repos", owner, name];
        all.extend(path);
        self.0.place(owner, &all, query)
    }

    pub(crate) async fn check(&self) -> Result<()> {
        let place = self.0.place("", &["user", "repos"], &[("limit", "1")]);
        self.0.get::<Vec<Repo>>(&place).await.map(drop)
    }

    pub(crate) async fn repo(&self, repo: &str) -> Result<RemoteRepo> {
        self.0.get::<Repo>(&self.at(repo, &[], &[])).await.map(Into::into)
    }

    pub(crate) async fn repos(&self, owner: Option<&str>) -> Result<Listing<RemoteRepo>> {
        let mut items = Vec::new();
        let at = self.0.place("", &["user", "repos"], &[PAGE]);
        let cut = self.0.pages(&at, |page: Vec<Repo>| items.extend(page)).await?;
        let is_wanted = |login: &str| owner.is_none_or(|owner| owner.eq_ignore_ascii_case(login));
        items.retain(|repo| repo.full_name.split_once('/').is_some_and(|(login, _)| is_wanted(login)));
        Ok(Listing { items: items.into_iter().map(Into::into).collect(), cut })
    }

    pub(crate) async fn file(&self, repo: &str, commit: &str, path: &str) -> Result<Vec<u8>> {
        let path: Vec<&str> = std::iter::once("raw").chain(path.split('/')).collect();
        self.0.bytes(&self.at(repo, &path, &[("ref", commit)]), "*/*", FILE_MAX).await
    }

    /// The id of what `commit` names.
    pub(crate) async fn commit(&self, repo: &str, commit: &str) -> Result<String> {
        let few = [("stat", "false"), ("verification", "false"), ("files", "false")];
        match self.0.get::<Sha>(&self.at(repo, &["git", "commits", commit], &few)).await {
            Ok(found) => Ok(found.sha),
            // Its word for what is no commit.
            Err(ApiError::Refused { status: 422, words }) => Err(ApiError::NotFound(words)),
            Err(error) => Err(error),
        }
    }

    /// Each commit brings its own files.
    pub(crate) async fn changes(&self, repo: &str, before: &str, after: &str) -> Result<Changes> {
        let range = format!("{before}...{after}");
        let found: Comparison =
            self.0.get(&self.at(repo, &["compare", &range], &[("verification", "false")])).await?;
        let mut changes = Changes::default();
        for commit in found.commits {
            changes.messages.push(message(&commit.commit.message));
            // A commit without a list: the server does not tell.
            changes.cut |= commit.files.is_none();
            changes.files.extend(commit.files.unwrap_or_default().into_iter().map(|file| file.filename));
        }
        changes.files.sort();
        changes.files.dedup();
        Ok(changes)
    }

    pub(crate) async fn branches(&self, repo: &str) -> Result<Listing<Branch>> {
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&self.at(repo, &["branches"], &[PAGE]), |page: Vec<Head>| {
                items.extend(page.into_iter().map(|head| Branch { name: head.name, commit: head.commit.id }));
            })
            .await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn pull_requests(&self, repo: &RemoteName) -> Result<Listing<PullRequest>> {
        let place = self.at(&repo.full_name, &["pulls"], &[("state", "open"), PAGE]);
        let mut all = Vec::new();
        let is_more = self.0.pages(&place, |page: Vec<Pull>| all.extend(page)).await?;
        let count = all.len();
        let items: Vec<_> = all.into_iter().filter_map(|pull| pull.checked(repo.clone()).ok()).collect();
        Ok(Listing { cut: is_more || items.len() < count, items })
    }

    pub(crate) async fn pull_request_files(&self, repo: &str, number: u64) -> Result<Listing<String>> {
        let place = self.at(repo, &["pulls", &number.to_string(), "files"], &[PAGE]);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<File>| {
                let names = page.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]);
                items.extend(names.flatten());
            })
            .await?;
        Ok(Listing { items, cut })
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
        let place = self.at(repo, &["issues", &number.to_string(), "comments"], &[]);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<OneComment>| {
                items.extend(page.into_iter().map(|one| Comment { id: one.id.to_string(), text: one.body }));
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
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&self.at(repo, &["hooks"], &[PAGE]), |page: Vec<Hook>| {
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

    /// It sends a push of the newest commit, not a ping.
    pub(crate) async fn ping(&self, repo: &str, id: &str) -> Result<bool> {
        self.0
            .write(Method::POST, &self.at(repo, &["hooks", id, "tests"], &[]), &json!({}))
            .await
            .map(|_| true)
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

fn hook_body(webhook: NewWebhook<'_>) -> serde_json::Value {
    json!({
        "type": "gitea", "active": true, "events": EVENTS,
        "config": {"url": webhook.url, "content_type": "json", "secret": webhook.secret.expose_secret()},
    })
}
