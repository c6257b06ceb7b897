//! Questions to GitLab, and what is told it. A project is named by its whole path.

use ocelot_model::Status;
use ocelot_model::event::PullRequest;
use ocelot_model::forge::{Account, RemoteName};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::Gitlab;
use super::hook::SIGNING_KEY;
use crate::api::{
    Branch, Changes, Comment, CommitStatus, Listing, NewWebhook, Permission, RemoteRepo, Result, Webhook, cut,
};
use crate::api_error::ApiError;
use crate::client::Place;
use crate::git::FILE_MAX;
use crate::payload::{self, BadBody, LINE_MAX, line, message};

const PAGE: (&str, &str) = ("per_page", "100");
const DESCRIPTION_MAX: usize = 255;
/// From so many files on a server may have left some out without saying so.
const FILES_MAX: usize = 1000;

#[derive(Deserialize)]
struct Project {
    id: u64,
    path_with_namespace: String,
    default_branch: Option<String>,
    visibility: Option<String>,
    http_url_to_repo: String,
    ssh_url_to_repo: String,
}

impl From<Project> for RemoteRepo {
    fn from(project: Project) -> RemoteRepo {
        RemoteRepo {
            name: RemoteName { id: Some(project.id.into()), full_name: project.path_with_namespace },
            default_branch: project.default_branch.filter(|branch| !branch.is_empty()),
            private: project.visibility.as_deref() != Some("public"),
            clone_https: project.http_url_to_repo,
            clone_ssh: project.ssh_url_to_repo,
        }
    }
}

#[derive(Deserialize)]
struct Comparison {
    #[serde(default)]
    commits: Vec<Commit>,
    #[serde(default)]
    diffs: Vec<Diff>,
    #[serde(default)]
    compare_timeout: bool,
}

#[derive(Deserialize)]
struct Commit {
    message: String,
}

#[derive(Deserialize)]
struct Diff {
    old_path: String,
    new_path: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Head {
    name: String,
    commit: Id,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    title: String,
    #[serde(default)]
    draft: bool,
    author: Option<User>,
    source_project_id: Option<u64>,
    source_branch: String,
    target_branch: String,
    sha: Option<String>,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    username: String,
}

impl MergeRequest {
    fn checked(self, target: RemoteName) -> std::result::Result<PullRequest, BadBody> {
        Ok(PullRequest {
            number: self.iid,
            title: line(&self.title, LINE_MAX),
            draft: self.draft,
            author: self
                .author
                .map(|user| Account { id: user.id.into(), name: line(&user.username, LINE_MAX) }),
            source: self
                .source_project_id
                .map(|id| RemoteName { id: Some(id.into()), full_name: String::new() }),
            source_branch: payload::name("source_branch", self.source_branch)?,
            commit: payload::commit("sha", self.sha.as_deref().unwrap_or_default())?,
            target,
            target_branch: payload::name("target_branch", self.target_branch)?,
            updated: line(&self.updated_at.unwrap_or_default(), 100),
        })
    }
}

#[derive(Deserialize)]
struct Note {
    id: u64,
    body: String,
}

#[derive(Deserialize)]
struct Hook {
    id: u64,
    url: String,
    alert_status: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    id: u64,
    access_level: u32,
    state: Option<String>,
}

/// Old and new path, once when they are the same.
fn paths(diff: Diff) -> impl Iterator<Item = String> {
    let old = Some(diff.old_path).filter(|old| *old != diff.new_path);
    old.into_iter().chain([diff.new_path])
}

impl Gitlab {
    fn at(&self, repo: &str, path: &[&str], query: &[(&str, &str)]) -> Place {
        let mut all = vec!["projects", repo];
        all.extend(path);
        let owner = repo.rsplit_once('/').map_or(repo, |(owner, _)| owner);
        self.0.place(owner, &all, query)
    }

    pub(crate) async fn check(&self) -> Result<()> {
        let query = [("membership", "true"), ("per_page", "1")];
        self.0.get::<Vec<Project>>(&self.0.place("", &["projects"], &query)).await.map(drop)
    }

    pub(crate) async fn repo(&self, repo: &str) -> Result<RemoteRepo> {
        self.0.get::<Project>(&self.at(repo, &[], &[])).await.map(Into::into)
    }

    pub(crate) async fn repos(&self, owner: Option<&str>) -> Result<Listing<RemoteRepo>> {
        let query = [("membership", "true"), ("archived", "false"), PAGE];
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&self.0.place("", &["projects"], &query), |page: Vec<Project>| items.extend(page))
            .await?;
        // A group's groups count as well.
        items.retain(|project| {
            owner.is_none_or(|owner| {
                let path = project.path_with_namespace.get(..owner.len());
                path.is_some_and(|path| path.eq_ignore_ascii_case(owner))
                    && project.path_with_namespace[owner.len()..].starts_with('/')
            })
        });
        Ok(Listing { items: items.into_iter().map(Into::into).collect(), cut })
    }

    pub(crate) async fn file(&self, repo: &str, commit: &str, path: &str) -> Result<Vec<u8>> {
        let place = self.at(repo, &["repository", "files", path, "raw"], &[("ref", commit)]);
        self.0.bytes(&place, "*/*", FILE_MAX).await
    }

    /// The id of what `commit` names.
    pub(crate) async fn commit(&self, repo: &str, commit: &str) -> Result<String> {
        let place = self.at(repo, &["repository", "commits", commit], &[("stats", "false")]);
        self.0.get::<Id>(&place).await.map(|found| found.id)
    }

    pub(crate) async fn changes(&self, repo: &str, before: &str, after: &str) -> Result<Changes> {
        let query = [("from", before), ("to", after), ("straight", "true")];
        let found: Comparison = self.0.get(&self.at(repo, &["repository", "compare"], &query)).await?;
        let mut changes = Changes {
            cut: found.compare_timeout || found.diffs.len() >= FILES_MAX,
            messages: found.commits.iter().map(|commit| message(&commit.message)).collect(),
            files: Vec::new(),
        };
        changes.files.extend(found.diffs.into_iter().flat_map(paths));
        Ok(changes)
    }

    pub(crate) async fn branches(&self, repo: &str) -> Result<Listing<Branch>> {
        let place = self.at(repo, &["repository", "branches"], &[PAGE]);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<Head>| {
                items.extend(page.into_iter().map(|head| Branch { name: head.name, commit: head.commit.id }));
            })
            .await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn pull_requests(&self, repo: &RemoteName) -> Result<Listing<PullRequest>> {
        let place = self.at(&repo.full_name, &["merge_requests"], &[("state", "opened"), PAGE]);
        let mut all = Vec::new();
        let is_more = self.0.pages(&place, |page: Vec<MergeRequest>| all.extend(page)).await?;
        let count = all.len();
        let items: Vec<_> = all.into_iter().filter_map(|one| one.checked(repo.clone()).ok()).collect();
        Ok(Listing { cut: is_more || items.len() < count, items })
    }

    pub(crate) async fn pull_request_files(&self, repo: &str, number: u64) -> Result<Listing<String>> {
        let place = self.at(repo, &["merge_requests", &number.to_string(), "diffs"], &[PAGE]);
        let mut items = Vec::new();
        let cut =
            self.0.pages(&place, |page: Vec<Diff>| items.extend(page.into_iter().flat_map(paths))).await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn set_status(&self, repo: &str, status: CommitStatus<'_>) -> Result<()> {
        let body = json!({
            "state": word(status.status), "name": status.context, "target_url": status.link,
            "description": cut(status.description, DESCRIPTION_MAX),
        });
        let place = self.at(repo, &["statuses", status.commit], &[]);
        match self.0.write(Method::POST, &place, &body).await {
            // It shows this state already.
            Err(ApiError::Refused { status: 400, words }) if words.contains("Cannot transition status") => {
                Ok(())
            }
            // A page for people in its place, with a status that says all is well, is no answer.
            other => other?.json::<serde::de::IgnoredAny>().map(drop),
        }
    }

    pub(crate) async fn comments(&self, repo: &str, number: u64) -> Result<Listing<Comment>> {
        let query = [("sort", "asc"), ("order_by", "created_at"), PAGE];
        let place = self.at(repo, &["merge_requests", &number.to_string(), "notes"], &query);
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&place, |page: Vec<Note>| {
                items.extend(
                    page.into_iter().map(|note| Comment { id: note.id.to_string(), text: note.body }),
                );
            })
            .await?;
        Ok(Listing { items, cut })
    }

    pub(crate) async fn add_comment(&self, repo: &str, number: u64, text: &str) -> Result<()> {
        let place = self.at(repo, &["merge_requests", &number.to_string(), "notes"], &[]);
        self.0.write(Method::POST, &place, &json!({"body": text})).await.map(drop)
    }

    pub(crate) async fn edit_comment(&self, repo: &str, number: u64, id: &str, text: &str) -> Result<()> {
        let place = self.at(repo, &["merge_requests", &number.to_string(), "notes", id], &[]);
        self.0.write(Method::PUT, &place, &json!({"body": text})).await.map(drop)
    }

    pub(crate) async fn webhooks(&self, repo: &str) -> Result<Listing<Webhook>> {
        let mut items = Vec::new();
        let cut = self
            .0
            .pages(&self.at(repo, &["hooks"], &[PAGE]), |page: Vec<Hook>| {
                items.extend(page.into_iter().map(|hook| Webhook {
                    id: hook.id.to_string(),
                    url: hook.url,
                    active: hook.alert_status.is_none_or(|status| status == "executable"),
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
        self.0.write(Method::PUT, &self.at(repo, &["hooks", id], &[]), &hook_body(webhook)).await.map(drop)
    }

    pub(crate) async fn remove_webhook(&self, repo: &str, id: &str) -> Result<()> {
        self.0.delete(&self.at(repo, &["hooks", id], &[])).await
    }

    /// It sends a push of the newest commits, not a ping.
    pub(crate) async fn ping(&self, repo: &str, id: &str) -> Result<bool> {
        let place = self.at(repo, &["hooks", id, "test", "push_events"], &[]);
        self.0.write(Method::POST, &place, &json!({})).await.map(|_| true)
    }

    pub(crate) async fn permission(&self, repo: &str, account: &Account) -> Result<Permission> {
        let place = self.at(repo, &["members", "all", account.id.as_str()], &[]);
        let member = match self.0.get::<Member>(&place).await {
            Err(ApiError::NotFound(_)) => return Ok(Permission::None),
            other => other?,
        };
        if member.id.to_string() != account.id.as_str() || member.state.is_some_and(|state| state != "active")
        {
            return Ok(Permission::None);
        }
        // Guest 10, Planner 15, Reporter 20, Developer 30, Maintainer 40, Owner 50.
        Ok(match member.access_level {
            40.. => Permission::Admin,
            30.. => Permission::Write,
            20.. => Permission::Read,
            _ => Permission::None,
        })
    }
}

fn hook_body(webhook: NewWebhook<'_>) -> serde_json::Value {
    let secret = webhook.secret.expose_secret();
    let mut body = json!({
        "url": webhook.url, "token": secret, "push_events": true, "tag_push_events": true,
        "merge_requests_events": true, "enable_ssl_verification": true,
    });
    if secret.starts_with(SIGNING_KEY) {
        // Older versions do not know it and send the token alone.
        body["signing_token"] = secret.into();
    }
    body
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Blocked | Status::Queued => "pending",
        Status::Running => "running",
        Status::Passed | Status::Skipped => "success",
        Status::Failed | Status::Error | Status::TimedOut => "failed",
        Status::Cancelled => "canceled",
    }
}
