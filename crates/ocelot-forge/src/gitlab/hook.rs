//! Webhooks of GitLab. What happened stands in the body: the same bodies come as project, group and system hooks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use ocelot_model::Event;
use ocelot_model::event::{PullRequest, PullRequestAction, PullRequestEvent, Push, RefChange};
use ocelot_model::forge::{Account, RemoteName};
use serde::Deserialize;

use crate::github::hook::Told;
use crate::hook::{Unverified, first, header, is_same, is_signed_standard};
use crate::payload::{self, BadBody, LINE_MAX, There, line};

const TOKEN: &str = "X-Gitlab-Token";
const SIGNATURE: &str = "Webhook-Signature";
/// How a key for signatures begins, in newer versions; the rest is base64.
pub(crate) const SIGNING_KEY: &str = "whsec_";

/// The secret itself stands in a header; newer versions sign with a key as well, and what is there must be right.
pub(crate) fn verify<'h>(headers: &'h HeaderMap, body: &[u8], secret: &str) -> Result<Told<'h>, Unverified> {
    let token = header(headers, "x-gitlab-token")?;
    let key = secret.strip_prefix(SIGNING_KEY).and_then(|key| BASE64_STANDARD.decode(key).ok());
    let signature = header(headers, "webhook-signature")?;
    if token.is_some_and(|token| !is_same(secret, token)) {
        return Err(Unverified::Wrong(TOKEN));
    }
    let id = first(headers, &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"])?;
    match (&key, signature) {
        (Some(key), Some(signature)) => {
            let time = header(headers, "webhook-timestamp")?.unwrap_or_default();
            if !is_signed_standard(key, id.unwrap_or_default(), time, body, signature) {
                return Err(Unverified::Wrong(SIGNATURE));
            }
        }
        // With a secret that is no such key, the signature is somebody else's.
        (None, Some(_)) | (_, None) if token.is_none() => return Err(Unverified::NoSignature(TOKEN)),
        (None, Some(_)) | (_, None) => {}
    }
    Ok((header(headers, "x-gitlab-event")?, id))
}

#[derive(Deserialize)]
struct Kind {
    object_kind: Option<String>,
    event_name: Option<String>,
}

pub(crate) fn parse(body: &[u8]) -> Result<Event, BadBody> {
    let kind: Kind = payload::read(body)?;
    let word = kind.object_kind.or(kind.event_name).unwrap_or_default();
    match word.as_str() {
        "push" | "tag_push" => push(body),
        "merge_request" => merge_request(body),
        other => Ok(Event::Ignored(format!("{} builds nothing", line(other, 100)))),
    }
}

#[derive(Deserialize)]
struct PushBody {
    #[serde(rename = "ref")]
    name: String,
    before: String,
    after: String,
    /// The commit, also where `after` is an annotated tag.
    checkout_sha: Option<String>,
    user_id: Option<u64>,
    user_username: Option<String>,
    project: Project,
    #[serde(default)]
    commits: Vec<Commit>,
}

#[derive(Deserialize)]
struct Project {
    id: Option<u64>,
    path_with_namespace: String,
}

impl Project {
    fn name(self) -> Result<RemoteName, BadBody> {
        let full_name = payload::full_name("project.path_with_namespace", &self.path_with_namespace)?;
        Ok(RemoteName { id: self.id.map(Into::into), full_name })
    }
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

fn push(body: &[u8]) -> Result<Event, BadBody> {
    let push: PushBody = payload::read(body)?;
    let Some(name) = payload::ref_name("ref", &push.name)? else {
        return Ok(Event::Ignored(format!("{} is neither a branch nor a tag", line(&push.name, 200))));
    };
    let marked = push.checkout_sha.as_deref();
    let change = payload::change(&push.before, &push.after, marked)?;
    let newest = push.commits.into_iter().find(|commit| commit.id == marked.unwrap_or(&push.after));
    let (message, author) = newest.map(|commit| (commit.message, commit.author)).unwrap_or_default();
    let change = RefChange {
        name,
        change,
        message: message.map(|text| payload::message(&text)),
        author: author.and_then(|author| author.name).map(|name| line(&name, LINE_MAX)),
    };
    let sender = push
        .user_id
        .map(|id| Account { id: id.into(), name: line(&push.user_username.unwrap_or_default(), LINE_MAX) });
    Ok(Event::Push(Push { repo: push.project.name()?, sender, changes: vec![change] }))
}

#[derive(Deserialize)]
struct MergeRequestBody {
    user: Option<User>,
    project: Project,
    object_attributes: MergeRequest,
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct User {
    id: Option<u64>,
    username: Option<String>,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    action: Option<String>,
    title: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    work_in_progress: bool,
    author_id: Option<u64>,
    source_project_id: Option<u64>,
    source_branch: String,
    target_branch: String,
    source: Option<Project>,
    last_commit: LastCommit,
    oldrev: Option<String>,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct LastCommit {
    id: String,
}

#[derive(Deserialize)]
struct Changes {
    title: Option<There>,
    target_branch: Option<There>,
}

fn merge_request(body: &[u8]) -> Result<Event, BadBody> {
    let body: MergeRequestBody = payload::read(body)?;
    let request = body.object_attributes;
    let word = request.action.as_deref().unwrap_or_default();
    let action = match (word, &request.oldrev, body.changes) {
        ("open", _, _) => PullRequestAction::Opened,
        ("reopen", _, _) => PullRequestAction::Reopened,
        ("close", _, _) => PullRequestAction::Closed,
        ("merge", _, _) => PullRequestAction::Merged,
        ("update", _, Some(Changes { target_branch: Some(_), .. })) => PullRequestAction::Retargeted,
        ("update", Some(_), _) => PullRequestAction::Updated,
        ("update", None, Some(Changes { title: Some(_), .. })) => PullRequestAction::TitleEdited,
        ("update", None, _) => {
            return Ok(Event::Ignored(
                "merge_request update: neither commits nor the title nor the target".to_owned(),
            ));
        }
        (other, _, _) => {
            return Ok(Event::Ignored(format!("merge_request {} builds nothing", line(other, 100))));
        }
    };
    let sender = body.user.and_then(|user| {
        Some(Account { id: user.id?.into(), name: line(&user.username.unwrap_or_default(), LINE_MAX) })
    });
    // The body names the author by number only.
    let author = request
        .author_id
        .map(|id| Account { id: id.into(), name: String::new() })
        .map(|author| sender.clone().filter(|sender| sender.id == author.id).unwrap_or(author));
    let source_name = request.source.map(Project::name).transpose()?.map(|name| name.full_name);
    let source = request
        .source_project_id
        .map(|id| RemoteName { id: Some(id.into()), full_name: source_name.unwrap_or_default() });
    let pull_request = PullRequest {
        number: request.iid,
        title: line(&request.title, LINE_MAX),
        draft: request.draft || request.work_in_progress,
        author,
        source,
        source_branch: payload::name("object_attributes.source_branch", request.source_branch)?,
        commit: payload::commit("object_attributes.last_commit.id", &request.last_commit.id)?,
        target: body.project.name()?,
        target_branch: payload::name("object_attributes.target_branch", request.target_branch)?,
        updated: line(&request.updated_at.unwrap_or_default(), 100),
    };
    let before =
        request.oldrev.as_deref().map(|id| payload::commit("object_attributes.oldrev", id)).transpose()?;
    Ok(Event::PullRequest(Box::new(PullRequestEvent { action, sender, before, pull_request })))
}
