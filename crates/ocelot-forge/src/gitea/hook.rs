//! Webhooks of Gitea and Forgejo. The bodies have GitHub's shape; headers and some words differ.

use http::HeaderMap;
use ocelot_model::Event;
use ocelot_model::event::{Change, Push, RefChange, RefName};
use serde::Deserialize;

use crate::github::hook::{Repository, Told, User, account, pull_request, push};
use crate::hook::{Unverified, first, header, is_signed_hex};
use crate::payload::{self, BadBody};

/// All that are there must be right; Gitea sends several.
const SIGNATURES: [&str; 3] = ["x-forgejo-signature", "x-gitea-signature", "x-hub-signature-256"];

pub(crate) fn verify<'h>(headers: &'h HeaderMap, body: &[u8], secret: &str) -> Result<Told<'h>, Unverified> {
    let mut signed = false;
    for name in SIGNATURES {
        let Some(given) = header(headers, name)? else { continue };
        let hex = given.strip_prefix("sha256=").unwrap_or(given);
        if !is_signed_hex(secret, body, hex) {
            return Err(Unverified::Wrong(name));
        }
        signed = true;
    }
    if !signed {
        return Err(Unverified::NoSignature("X-Gitea-Signature"));
    }
    let event = first(headers, &["x-forgejo-event", "x-gitea-event"])?;
    Ok((event, first(headers, &["x-forgejo-delivery", "x-gitea-delivery"])?))
}

pub(crate) fn parse(event: &str, body: &[u8]) -> Result<Event, BadBody> {
    match event {
        "push" => push(body),
        // Reviews and labels have events of their own in some versions, and actions in others.
        "pull_request" | "pull_request_sync" => pull_request(body),
        "delete" => delete(body),
        "create" => Ok(Event::Ignored("create: the push event tells the same".to_owned())),
        "" => Ok(Event::Ignored("the webhook does not say what happened".to_owned())),
        other => Ok(Event::Ignored(format!("{other} builds nothing"))),
    }
}

#[derive(Deserialize)]
struct DeleteBody {
    #[serde(rename = "ref")]
    name: String,
    ref_type: String,
    repository: Repository,
    sender: Option<User>,
}

/// A branch that is gone is told by this event alone; of a tag there is a push as well.
fn delete(body: &[u8]) -> Result<Event, BadBody> {
    let body: DeleteBody = payload::read(body)?;
    if body.ref_type != "branch" {
        return Ok(Event::Ignored("delete of a tag: the push event tells the same".to_owned()));
    }
    let name = body.name.strip_prefix("refs/heads/").unwrap_or(&body.name).to_owned();
    let change = RefChange {
        name: RefName::Branch(payload::name("ref", name)?),
        change: Change::Deleted { before: None },
        message: None,
        author: None,
    };
    Ok(Event::Push(Push {
        repo: body.repository.name()?,
        sender: account(body.sender),
        changes: vec![change],
    }))
}
