//! Webhooks of GitHub. Gitea sends bodies of the same shape and reads them with what stands here.

use http::HeaderMap;
use ocelot_model::Event;
use ocelot_model::event::{
    MergeGroup, PullRequest, PullRequestAction, PullRequestEvent, Push, RefChange, RefName,
};
use ocelot_model::forge::{Account, RemoteId, RemoteName};
use serde::Deserialize;

use crate::hook::{Unverified, header, is_signed_hex};
use crate::payload::{self, BadBody, LINE_MAX, There, line};

const SIGNATURE: &str = "x-hub-signature-256";

/// Event and delivery id.
pub(crate) type Told<'h> = (Option<&'h str>, Option<&'h str>);

pub(crate) fn verify<'h>(headers: &'h HeaderMap, body: &[u8], secret: &str) -> Result<Told<'h>, Unverified> {
    let given = header(headers, SIGNATURE)?.ok_or(Unverified::NoSignature("X-Hub-Signature-256"))?;
    let hex = given.strip_prefix("sha256=").unwrap_or_default();
    if !is_signed_hex(secret, body, hex) {
        return Err(Unverified::Wrong("X-Hub-Signature-256"));
    }
    Ok((header(headers, "x-github-event")?, header(headers, "x-github-delivery")?))
}

pub(crate) fn parse(event: &str, body: &[u8]) -> Result<Event, BadBody> {
    match event {
        "push" => push(body),
        "pull_request" => pull_request(body),
        "merge_group" => merge_group(body),
        "ping" => ping(body),
        "create" | "delete" => Ok(Event::Ignored(format!("{event}: the push event tells the same"))),
        "" => Ok(Event::Ignored("the webhook does not say what happened".to_owned())),
        other => Ok(Event::Ignored(format!("{other} builds nothing"))),
    }
}

#[derive(Deserialize)]
struct Ping {
    repository: Option<Repository>,
}

fn ping(body: &[u8]) -> Result<Event, BadBody> {
    let ping: Ping = payload::read(body)?;
    Ok(Event::Ping(ping.repository.map(Repository::name).transpose()?))
}

#[derive(Deserialize)]
struct PushBody {
    #[serde(rename = "ref")]
    name: String,
    before: String,
    after: String,
    repository: Repository,
    sender: Option<User>,
    head_commit: Option<Commit>,
    #[serde(default)]
    commits: Vec<Commit>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    message: Option<String>,
    author: Option<Author>,
}

#[derive(Deserialize)]
struct Author {
    name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Repository {
    id: Option<u64>,
    full_name: String,
}

impl Repository {
    pub(crate) fn name(self) -> Result<RemoteName, BadBody> {
        let full_name = payload::full_name("repository.full_name", &self.full_name)?;
        Ok(RemoteName { id: self.id.map(Into::into), full_name })
    }
}

#[derive(Deserialize)]
pub(crate) struct User {
    id: Option<u64>,
    login: Option<String>,
}

impl User {
    /// Not who `account` is.
    pub(crate) fn is_not(&self, account: &Account) -> bool {
        self.id.map(RemoteId::from).as_ref() != Some(&account.id)
    }
}

/// Somebody without an id is nobody.
pub(crate) fn account(user: Option<User>) -> Option<Account> {
    let user = user?;
    Some(Account { id: user.id?.into(), name: line(&user.login.unwrap_or_default(), LINE_MAX) })
}

pub(crate) fn push(body: &[u8]) -> Result<Event, BadBody> {
    let push: PushBody = payload::read(body)?;
    let Some(name) = payload::ref_name("ref", &push.name)? else {
        return Ok(Event::Ignored(format!("{} is neither a branch nor a tag", line(&push.name, 200))));
    };
    // Of an annotated tag `after` is the tag itself, and the newest commit the one that it marks. Older Gitea has no
    // newest commit; it lists the newest first, GitHub the newest last.
    let is_tag = matches!(name, RefName::Tag(_));
    let newest = push
        .head_commit
        .or_else(|| push.commits.into_iter().find(|commit| commit.id == push.after))
        .filter(|commit| is_tag || commit.id == push.after);
    let marked = newest.as_ref().filter(|_| is_tag).map(|commit| commit.id.as_str());
    let change = payload::change(&push.before, &push.after, marked)?;
    let (message, author) = newest.map(|commit| (commit.message, commit.author)).unwrap_or_default();
    let change = RefChange {
        name,
        change,
        message: message.map(|text| payload::message(&text)),
        author: author.and_then(|author| author.name).map(|name| line(&name, LINE_MAX)),
    };
    Ok(Event::Push(Push {
        repo: push.repository.name()?,
        sender: account(push.sender),
        changes: vec![change],
    }))
}

#[derive(Deserialize)]
struct PullRequestBody {
    action: String,
    number: u64,
    changes: Option<Changes>,
    before: Option<String>,
    pull_request: Pull,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Deserialize)]
struct Changes {
    title: Option<There>,
    /// GitHub's word for another target.
    base: Option<There>,
    /// Gitea's word for another target.
    #[serde(rename = "ref")]
    target: Option<There>,
}

/// A pull request, the same in webhooks and answers.
#[derive(Deserialize)]
pub(crate) struct Pull {
    /// Older Gitea says it beside the pull request only.
    number: Option<u64>,
    title: String,
    #[serde(default)]
    draft: bool,
    merged: Option<bool>,
    user: Option<User>,
    updated_at: Option<String>,
    head: Side,
    base: Side,
}

impl Pull {
    pub(crate) fn checked(self, target: RemoteName) -> Result<PullRequest, BadBody> {
        Ok(PullRequest {
            number: self.number.ok_or(BadBody::Field { field: "number", problem: "missing" })?,
            title: line(&self.title, LINE_MAX),
            draft: self.draft,
            author: account(self.user),
            source_branch: payload::name("pull_request.head.ref", self.head.name.clone())?,
            commit: payload::commit("pull_request.head.sha", &self.head.sha)?,
            source: self.head.repo()?,
            target,
            target_branch: payload::name("pull_request.base.ref", self.base.name)?,
            updated: line(&self.updated_at.unwrap_or_default(), 100),
        })
    }
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    repo: Option<Repository>,
    /// Gitea: it stays when the repository is gone.
    repo_id: Option<i64>,
}

impl Side {
    fn repo(self) -> Result<Option<RemoteName>, BadBody> {
        match self.repo {
            Some(repo) => repo.name().map(Some),
            None => Ok(self
                .repo_id
                .and_then(|id| u64::try_from(id).ok())
                .filter(|id| *id > 0)
                .map(|id| RemoteName { id: Some(id.into()), full_name: String::new() })),
        }
    }
}

pub(crate) fn pull_request(body: &[u8]) -> Result<Event, BadBody> {
    let body: PullRequestBody = payload::read(body)?;
    let pull = Pull { number: Some(body.number), ..body.pull_request };
    let action = match body.action.as_str() {
        "opened" => PullRequestAction::Opened,
        "synchronize" | "synchronized" => PullRequestAction::Updated,
        "reopened" => PullRequestAction::Reopened,
        "closed" if pull.merged == Some(true) => PullRequestAction::Merged,
        "closed" => PullRequestAction::Closed,
        "edited" => match body.changes {
            Some(Changes { base: Some(_), .. } | Changes { target: Some(_), .. }) => {
                PullRequestAction::Retargeted
            }
            Some(Changes { title: Some(_), .. }) => PullRequestAction::TitleEdited,
            Some(_) | None => {
                return Ok(Event::Ignored(
                    "pull_request edited: neither the title nor the target".to_owned(),
                ));
            }
        },
        other => return Ok(Event::Ignored(format!("pull_request {} builds nothing", line(other, 100)))),
    };
    let pull_request = pull.checked(body.repository.name()?)?;
    let before = body.before.as_deref().map(|id| payload::commit("before", id)).transpose()?;
    let sender = account(body.sender);
    Ok(Event::PullRequest(Box::new(PullRequestEvent { action, sender, before, pull_request })))
}

#[derive(Deserialize)]
struct MergeGroupBody {
    action: String,
    merge_group: Group,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Deserialize)]
struct Group {
    head_sha: String,
    head_ref: String,
    base_ref: String,
    head_commit: Option<Commit>,
}

fn merge_group(body: &[u8]) -> Result<Event, BadBody> {
    let body: MergeGroupBody = payload::read(body)?;
    let wanted = match body.action.as_str() {
        "checks_requested" => true,
        "destroyed" => false,
        other => return Ok(Event::Ignored(format!("merge_group {} builds nothing", line(other, 100)))),
    };
    let group = body.merge_group;
    Ok(Event::MergeGroup(MergeGroup {
        repo: body.repository.name()?,
        sender: account(body.sender),
        wanted,
        branch: branch("merge_group.head_ref", &group.head_ref)?,
        commit: payload::commit("merge_group.head_sha", &group.head_sha)?,
        target_branch: branch("merge_group.base_ref", &group.base_ref)?,
        message: group.head_commit.and_then(|commit| commit.message).map(|text| payload::message(&text)),
    }))
}

fn branch(field: &'static str, text: &str) -> Result<String, BadBody> {
    match payload::ref_name(field, text)? {
        Some(RefName::Branch(name)) => Ok(name),
        Some(RefName::Tag(_)) | None => Err(BadBody::Field { field, problem: "no branch" }),
    }
}
