//! Webhooks of Bitbucket Cloud. A push may hold several changes; pull requests name commits by 12 digits.

use http::HeaderMap;
use ocelot_model::Event;
use ocelot_model::event::{
    Change, PullRequest, PullRequestAction, PullRequestEvent, Push, RefChange, RefName,
};
use ocelot_model::forge::{Account, RemoteName};
use serde::Deserialize;

use crate::github::hook::Told;
use crate::hook::{Unverified, header, is_signed_hex};
use crate::payload::{self, BadBody, LINE_MAX, line};

/// Most changes of one push that are read. Bitbucket sends no more than this.
const CHANGES_MAX: usize = 1000;

pub(crate) fn verify<'h>(headers: &'h HeaderMap, body: &[u8], secret: &str) -> Result<Told<'h>, Unverified> {
    let given = header(headers, "x-hub-signature")?.ok_or(Unverified::NoSignature("X-Hub-Signature"))?;
    let hex = given.strip_prefix("sha256=").unwrap_or_default();
    if !is_signed_hex(secret, body, hex) {
        return Err(Unverified::Wrong("X-Hub-Signature"));
    }
    Ok((header(headers, "x-event-key")?, header(headers, "x-request-uuid")?))
}

pub(crate) fn parse(event: &str, body: &[u8]) -> Result<Event, BadBody> {
    let action = match event {
        "repo:push" => return push(body),
        "diagnostics:ping" => return Ok(Event::Ping(None)),
        "pullrequest:created" => PullRequestAction::Opened,
        "pullrequest:updated" => PullRequestAction::Updated,
        "pullrequest:fulfilled" => PullRequestAction::Merged,
        "pullrequest:rejected" => PullRequestAction::Closed,
        "" => return Ok(Event::Ignored("the webhook does not say what happened".to_owned())),
        other => return Ok(Event::Ignored(format!("{other} builds nothing"))),
    };
    pull_request(action, body)
}

#[derive(Deserialize)]
pub(crate) struct Repository {
    uuid: Option<String>,
    full_name: String,
}

impl Repository {
    pub(crate) fn name(self) -> Result<RemoteName, BadBody> {
        Ok(RemoteName {
            id: payload::remote_id("repository.uuid", self.uuid.as_deref())?,
            full_name: payload::full_name("repository.full_name", &self.full_name)?,
        })
    }
}

#[derive(Deserialize)]
struct User {
    uuid: Option<String>,
    nickname: Option<String>,
    display_name: Option<String>,
}

fn account(user: Option<User>) -> Result<Option<Account>, BadBody> {
    let Some(user) = user else { return Ok(None) };
    let id = payload::remote_id("actor.uuid", user.uuid.as_deref())?;
    let name = line(&user.nickname.or(user.display_name).unwrap_or_default(), LINE_MAX);
    Ok(id.map(|id| Account { id, name }))
}

#[derive(Deserialize)]
struct PushBody {
    actor: Option<User>,
    repository: Repository,
    push: Changes,
}

#[derive(Deserialize)]
struct Changes {
    changes: Vec<OneChange>,
}

#[derive(Deserialize)]
struct OneChange {
    old: Option<Ref>,
    new: Option<Ref>,
}

#[derive(Deserialize)]
struct Ref {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    hash: String,
    message: Option<String>,
    author: Option<Author>,
}

#[derive(Deserialize)]
struct Author {
    raw: Option<String>,
}

fn push(body: &[u8]) -> Result<Event, BadBody> {
    let body: PushBody = payload::read(body)?;
    if body.push.changes.len() > CHANGES_MAX {
        return Err(BadBody::Field { field: "push.changes", problem: "longer than any push" });
    }
    let changes: Result<Vec<_>, _> =
        body.push.changes.into_iter().filter_map(|change| one_change(change).transpose()).collect();
    let changes = changes?;
    if changes.is_empty() {
        return Ok(Event::Ignored("repo:push without a branch or a tag".to_owned()));
    }
    Ok(Event::Push(Push { repo: body.repository.name()?, sender: account(body.actor)?, changes }))
}

/// `None` for what is neither a branch nor a tag (a bookmark of the Mercurial days).
fn one_change(change: OneChange) -> Result<Option<RefChange>, BadBody> {
    let Some(shown) = change.new.as_ref().or(change.old.as_ref()) else { return Ok(None) };
    let name = payload::name("push.changes.name", shown.name.clone())?;
    let name = match shown.kind.as_str() {
        "branch" | "named_branch" => RefName::Branch(name),
        "tag" | "annotated_tag" => RefName::Tag(name),
        _ => return Ok(None),
    };
    let id = |side: &Ref| payload::commit("push.changes.target.hash", &side.target.hash);
    let (change, newest) = match (change.old, change.new) {
        (None, Some(new)) => (Change::Created { after: id(&new)? }, Some(new.target)),
        (Some(old), Some(new)) => (Change::Moved { before: id(&old)?, after: id(&new)? }, Some(new.target)),
        (Some(old), None) => (Change::Deleted { before: Some(id(&old)?) }, None),
        (None, None) => return Ok(None),
    };
    let (message, author) = newest.map(|target| (target.message, target.author)).unwrap_or_default();
    Ok(Some(RefChange {
        name,
        change,
        message: message.map(|text| payload::message(&text)),
        author: author.and_then(|author| author.raw).map(|raw| without_address(&raw)),
    }))
}

/// `Ada <ada@example.org>` without the address.
fn without_address(raw: &str) -> String {
    line(raw.split_once('<').map_or(raw, |(name, _)| name).trim(), LINE_MAX)
}

#[derive(Deserialize)]
struct PullRequestBody {
    actor: Option<User>,
    repository: Repository,
    pullrequest: Pull,
}

/// A pull request, the same in webhooks and answers.
#[derive(Deserialize)]
pub(crate) struct Pull {
    id: u64,
    title: String,
    #[serde(default)]
    draft: bool,
    author: Option<User>,
    updated_on: Option<String>,
    source: Side,
    destination: Side,
}

impl Pull {
    pub(crate) fn checked(self, target: RemoteName) -> Result<PullRequest, BadBody> {
        let commit = self.source.commit.map(|commit| commit.hash).unwrap_or_default();
        Ok(PullRequest {
            number: self.id,
            title: line(&self.title, LINE_MAX),
            draft: self.draft,
            author: account(self.author)?,
            source: self.source.repository.map(Repository::name).transpose()?,
            source_branch: payload::name("pullrequest.source.branch.name", self.source.branch.name)?,
            commit: payload::any_commit("pullrequest.source.commit.hash", &commit)?,
            target,
            target_branch: payload::name(
                "pullrequest.destination.branch.name",
                self.destination.branch.name,
            )?,
            updated: line(&self.updated_on.unwrap_or_default(), 100),
        })
    }
}

#[derive(Deserialize)]
struct Side {
    branch: Branch,
    commit: Option<Commit>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Branch {
    name: String,
}

#[derive(Deserialize)]
struct Commit {
    hash: String,
}

fn pull_request(action: PullRequestAction, body: &[u8]) -> Result<Event, BadBody> {
    let body: PullRequestBody = payload::read(body)?;
    let pull_request = body.pullrequest.checked(body.repository.name()?)?;
    let sender = account(body.actor)?;
    Ok(Event::PullRequest(Box::new(PullRequestEvent { action, sender, before: None, pull_request })))
}
