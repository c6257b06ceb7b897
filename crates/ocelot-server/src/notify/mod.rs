//! Tells people and programs of builds: Slack, signed HTTP requests, mail.
//!
//! Who is told, and of what, is `ocelot_model::notify`'s to say; it is written down with the build (the outbox), and
//! `loops/outbox` has it sent from here. Nothing here decides about a build or writes to the database.

mod email;
mod error;
mod public;
mod reach;
mod seen;
mod slack;
mod smtp;
mod text;
mod web;
mod webhook;

use std::collections::BTreeMap;

use ocelot_model::hidden::Hidden;
use ocelot_model::notify::{Medium, Rule, Target, mail_list};
use ocelot_model::secret::{Kind, Limits};
use ocelot_store::{Build, Notice, Post, Repo, Secret, StoreError};
use secrecy::{ExposeSecret as _, SecretString};

pub use error::NotifyError;
pub use seen::{notice_for, undelivered_for};
pub use web::Web;

use crate::App;
use crate::builds::insight;
use text::Message;

/// What was sent, and what the far side said to it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The body, or of a mail its heading and text.
    pub what: String,
    /// The far side's answer.
    pub answer: String,
    /// Of a mail that not all could be given.
    pub partly: Option<Partly>,
}

/// Who has a mail, of several, and who does not.
#[derive(Debug, Clone)]
pub struct Partly {
    /// The addresses that have it.
    pub told: Vec<String>,
    /// The others, and what the server says of each.
    pub words: String,
}

impl Sent {
    fn new(what: String, answer: String) -> Sent {
        Sent { what, answer, partly: None }
    }
}

/// Why a credential of kind `notify` with these fields, which were checked for themselves, can never work.
pub fn check(fields: &BTreeMap<String, String>, value: &[u8], limits: &Limits) -> Result<(), String> {
    let text = std::str::from_utf8(value).map_err(|_| "value: it must be text".to_owned())?;
    let field = |name: &str| fields.get(name).map(String::as_str);
    if !limits.stages.is_empty() {
        return Err("stages: a notification is of a whole build; leave them out".to_owned());
    }
    match Medium::of(fields) {
        Some(Medium::Slack) => slack::check_address(text),
        Some(Medium::Webhook) => {
            let (_, own) = webhook::read(text)?;
            match (field("url"), own) {
                (Some(_), Some(_)) => {
                    Err("url: there is an address in the value too; leave one of them out".to_owned())
                }
                (None, None) if field("on").is_some() => {
                    Err("url: it is needed, because there is an `on`: nobody else says where to".to_owned())
                }
                (url, _) => url.map_or(Ok(()), web::check_shown),
            }
        }
        Some(Medium::Email) => {
            email::check(field("url").unwrap_or_default(), field("from").unwrap_or_default(), field("to"))
        }
        // Refused with the other fields.
        None => Ok(()),
    }
}

/// Sends a notification of the outbox.
pub async fn send(app: &App, post: &Post, notice: &Notice) -> Result<Sent, NotifyError> {
    let detail = app.store.find_build_detail(post.build).await?;
    // Its row goes with it.
    let detail = detail.ok_or_else(|| NotifyError::Settings("the build is gone".to_owned()))?;
    let link = format!("{}/builds/{}", app.public_url, post.build);
    // They come with a failure; without them it is told all the same.
    let news = insight::new_lines(app, &detail).await.unwrap_or_else(|error| {
        tracing::warn!(%error, build = %post.build, "the new lines of build {} cannot be told", post.build);
        Vec::new()
    });
    let message = text::of_build(&detail, post.status, notice.before, &news, link);
    let credential = find(app, &post.repo, &notice.rule.identifier).await?;
    // A second try is the same message; another occasion is not.
    let id = format!("{}.{}", post.mark, post.version);
    let (rule, told) = (&notice.rule, &notice.told[..]);
    deliver(app, &Letter { credential: &credential, rule, message: &message, id: &id, told }).await
}

/// Sends a message that says that it is a test.
pub async fn test(
    app: &App,
    credential: &Secret,
    rule: &Rule,
    about: &str,
    by: &str,
) -> Result<Sent, NotifyError> {
    let message = text::test(about, by, app.public_url.to_string());
    let id = uuid::Uuid::now_v7().simple().to_string();
    deliver(app, &Letter { credential, rule, message: &message, id: &id, told: &[] }).await
}

/// One message to one place.
struct Letter<'l> {
    credential: &'l Secret,
    rule: &'l Rule,
    message: &'l Message,
    /// What the far side knows it by, should it come twice.
    id: &'l str,
    /// Addresses that have it already.
    told: &'l [String],
}

/// The credential that a rule of this repository means.
pub async fn find(app: &App, repo: &Repo, identifier: &str) -> Result<Secret, NotifyError> {
    let reach = app.store.secrets_in_reach(repo.id, &repo.name).await?;
    let mut reach = reach.into_iter().filter(|one| one.kind == Kind::Notify);
    reach.find(|one| one.is_called(identifier)).ok_or_else(|| {
        NotifyError::Settings(format!(
            "{} has no credential of kind notify that is called {identifier}: add it with `ocelot creds notify add`",
            repo.name
        ))
    })
}

async fn deliver(app: &App, letter: &Letter<'_>) -> Result<Sent, NotifyError> {
    let Letter { credential, rule, message, .. } = letter;
    let (has, wants) = (Medium::of(&credential.fields), rule.medium());
    if has != Some(wants) {
        let has = has.map_or("no type", Medium::as_str);
        let words = format!("the credential {} is for {has}, not for {wants}", credential.name);
        return Err(NotifyError::Settings(words));
    }
    let value = open(app, credential).await?;
    let hidden = carried(letter, value.expose_secret());
    // Only an address that a whole server's admin keeps may be one of its own network.
    let own = credential.by_admin;
    let sent = match &rule.to {
        Target::Slack(channel) => {
            slack::send(app, (&value, own), channel.as_deref(), (message, &hidden)).await
        }
        Target::Webhook(url) => post_webhook(app, letter, url.as_deref(), (&value, &hidden)).await,
        Target::Email(to) => {
            let usual = credential.fields.get("to").map(|to| mail_list(to)).unwrap_or_default();
            let to = if to.is_empty() { &usual } else { to };
            email::send(app, letter, to, &value, &hidden).await
        }
    };
    sent.map_err(|error| error.hide(&hidden))
}

async fn post_webhook(
    app: &App,
    letter: &Letter<'_>,
    asked: Option<&str>,
    (value, hidden): (&SecretString, &Hidden),
) -> Result<Sent, NotifyError> {
    let Letter { credential, message, id, .. } = letter;
    let (key, secret) = webhook::read(value.expose_secret()).map_err(NotifyError::Settings)?;
    // The credential's own address wins: who keeps it decides where its signature goes.
    let (url, own) = match (secret.or(credential.fields.get("url").map(String::as_str)), asked) {
        (Some(url), _) => (url, credential.by_admin),
        (None, Some(url)) => (url, false),
        (None, None) => {
            let words = format!("neither the credential {} nor the rule has a `url`", credential.name);
            return Err(NotifyError::Settings(words));
        }
    };
    webhook::send(app, webhook::To { url, own, key: &key, id, hidden }, message).await
}

/// Why the address in a rule is not the one that is used; `None` when it is, or there is none.
pub fn unused_address(credential: &Secret, rule: &Rule) -> Option<String> {
    match &rule.to {
        Target::Webhook(Some(_)) if credential.fields.contains_key("url") => Some(format!(
            "the `url` in ocelot.yml is not used: the credential {} has one, which wins",
            credential.name
        )),
        Target::Webhook(_) | Target::Slack(_) | Target::Email(_) => None,
    }
}

/// What whoever administers the repository should know of the rules of a build, as soon as it is made.
pub async fn notes(app: &App, build: &Build) -> Result<Vec<String>, StoreError> {
    let mut rules = app.store.build_rules(build.number).await?;
    rules.retain(|rule| matches!(rule.to, Target::Webhook(Some(_))));
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut reach = app.store.secrets_in_reach(build.repo.id, &build.repo.name).await?;
    reach.retain(|one| one.kind == Kind::Notify);
    let mut notes: Vec<String> = rules
        .iter()
        .filter_map(|rule| unused_address(reach.iter().find(|one| one.is_called(&rule.identifier))?, rule))
        .collect();
    notes.sort_unstable();
    notes.dedup();
    Ok(notes)
}

/// What goes out with a message and must not be said back.
fn carried(letter: &Letter<'_>, value: &str) -> Hidden {
    let Letter { credential, rule, .. } = letter;
    let field = |name: &str| credential.fields.get(name).map(String::as_str);
    match &rule.to {
        Target::Slack(_) => web::hide_address(Hidden::default(), value, true),
        Target::Webhook(asked) => {
            // The key, and perhaps an address.
            let hidden =
                value.lines().fold(Hidden::default(), |all, one| web::hide_address(all, one.trim(), true));
            let shown = [field("url"), asked.as_deref()].into_iter().flatten();
            shown.fold(hidden, |all, one| web::hide_address(all, one, false))
        }
        Target::Email(_) => Hidden::default().login(field("username").unwrap_or_default(), value),
    }
}

async fn open(app: &App, credential: &Secret) -> Result<SecretString, NotifyError> {
    let gone = || NotifyError::Settings(format!("the credential {} is gone", credential.name));
    let (_, value) = match app.store.open_secrets(&[credential.id]).await {
        Err(StoreError::Conflict(words) | StoreError::Corrupt(words)) => {
            return Err(NotifyError::Settings(format!("a credential cannot be opened: {words}")));
        }
        opened => opened?.pop().ok_or_else(gone)?,
    };
    let text = std::str::from_utf8(value.expose_secret()).map_err(|_| gone())?;
    // From a file it comes with the end of its line.
    Ok(text.trim().into())
}
