//! Webhooks as the real forges send them: every class of event that Ocelot tells apart, by name, signed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ocelot_model::ForgeKind;
use sha2::Sha256;

use super::bodies::{bitbucket, github, gitlab};
use super::state::hex;

/// What a webhook tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A branch is new.
    BranchCreated,
    /// Commits arrived on a branch.
    BranchPushed,
    /// A branch is gone.
    BranchDeleted,
    /// A tag is new.
    TagCreated,
    /// A tag is gone.
    TagDeleted,
    /// A pull request is new.
    PullRequestOpened,
    /// A pull request has other commits.
    PullRequestUpdated,
    /// A pull request was closed without a merge.
    PullRequestClosed,
    /// A pull request was merged.
    PullRequestMerged,
    /// A pull request is open again.
    PullRequestReopened,
    /// A pull request is to go elsewhere.
    PullRequestRetargeted,
    /// A pull request has another title.
    PullRequestTitleEdited,
    /// A pull request has a label: nothing to build.
    PullRequestLabeled,
    /// A merge queue asks.
    MergeGroupWanted,
    /// A merge queue asks no longer.
    MergeGroupGone,
    /// The forge tries the webhook.
    Ping,
    /// Something else altogether.
    Star,
}

impl Told {
    /// All of them.
    pub const ALL: [Told; 17] = [
        Told::BranchCreated,
        Told::BranchPushed,
        Told::BranchDeleted,
        Told::TagCreated,
        Told::TagDeleted,
        Told::PullRequestOpened,
        Told::PullRequestUpdated,
        Told::PullRequestClosed,
        Told::PullRequestMerged,
        Told::PullRequestReopened,
        Told::PullRequestRetargeted,
        Told::PullRequestTitleEdited,
        Told::PullRequestLabeled,
        Told::MergeGroupWanted,
        Told::MergeGroupGone,
        Told::Ping,
        Told::Star,
    ];
}

/// Who and what a webhook is about.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Number of the repository.
    pub repo: u64,
    /// Its full name.
    pub full_name: String,
    /// The branch, or the tag.
    pub name: String,
    /// Commit before; also that of a pull request's source before an update.
    pub before: String,
    /// Commit now; also that of a pull request's source.
    pub after: String,
    /// Message of the newest commit.
    pub message: String,
    /// Number and name of who did it.
    pub sender: (u64, String),
    /// Number of the pull request.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// The branch that it is to be merged into.
    pub target: String,
    /// Number of the repository that it comes from; `None`: that one is gone.
    pub source: Option<u64>,
}

impl Default for Scene {
    fn default() -> Scene {
        Scene {
            repo: 11,
            full_name: "acme/app".to_owned(),
            name: "topic".to_owned(),
            before: "b".repeat(40),
            after: "a".repeat(40),
            message: "Change it\n\nand more".to_owned(),
            sender: (7, "ada".to_owned()),
            number: 3,
            title: "A change".to_owned(),
            target: "main".to_owned(),
            source: Some(11),
        }
    }
}

/// A webhook that is not signed yet.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Who sends it.
    pub kind: ForgeKind,
    /// The forge's word for what happened.
    pub event: String,
    /// The forge's name of this delivery.
    pub delivery: String,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Webhook {
    /// What this forge sends for it; `None` when it has no such event.
    pub fn new(kind: ForgeKind, told: Told, scene: &Scene) -> Option<Webhook> {
        let (event, body) = match kind {
            ForgeKind::Github | ForgeKind::Gitea => github(kind, told, scene)?,
            ForgeKind::Gitlab => gitlab(told, scene)?,
            ForgeKind::Bitbucket => bitbucket(told, scene)?,
            ForgeKind::Git => return None,
        };
        let delivery = format!("{told:?}-{}", &scene.after[..7]);
        Some(Webhook { kind, event: event.to_owned(), delivery, body: body.to_string().into_bytes() })
    }

    /// Its headers, signed with `secret`.
    pub fn headers(&self, secret: &str) -> Vec<(&'static str, String)> {
        let (event, delivery) = match self.kind {
            ForgeKind::Github => ("X-GitHub-Event", "X-GitHub-Delivery"),
            ForgeKind::Gitea => ("X-Gitea-Event", "X-Gitea-Delivery"),
            ForgeKind::Gitlab => ("X-Gitlab-Event", "Idempotency-Key"),
            ForgeKind::Bitbucket | ForgeKind::Git => ("X-Event-Key", "X-Request-UUID"),
        };
        let mut headers = vec![(event, self.event.clone()), (delivery, self.delivery.clone())];
        headers.push(("Content-Type", "application/json".to_owned()));
        headers.extend(sign(self.kind, secret, &self.delivery, &self.body));
        headers
    }
}

/// The headers by which a forge proves that it sent `body`.
pub fn sign(kind: ForgeKind, secret: &str, delivery: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    let code = hex(&mac(secret.as_bytes(), body));
    match kind {
        ForgeKind::Github => vec![("X-Hub-Signature-256", format!("sha256={code}"))],
        ForgeKind::Gitea => {
            vec![("X-Gitea-Signature", code.clone()), ("X-Hub-Signature-256", format!("sha256={code}"))]
        }
        ForgeKind::Bitbucket => vec![("X-Hub-Signature", format!("sha256={code}"))],
        ForgeKind::Git => Vec::new(),
        ForgeKind::Gitlab => {
            let mut headers = vec![("X-Gitlab-Token", secret.to_owned())];
            let key = secret.strip_prefix("whsec_").and_then(|key| BASE64_STANDARD.decode(key).ok());
            if let Some(key) = key {
                let signed = [delivery.as_bytes(), b".1700000000.", body].concat();
                headers.push(("webhook-id", delivery.to_owned()));
                headers.push(("webhook-timestamp", "1700000000".to_owned()));
                headers.push((
                    "webhook-signature",
                    format!("v1,{}", BASE64_STANDARD.encode(mac(&key, &signed))),
                ));
            }
            headers
        }
    }
}

fn mac(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}
