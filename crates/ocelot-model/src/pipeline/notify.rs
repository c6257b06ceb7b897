//! Who is told of a build, as the file has it: the keys of `notify`, what its texts must look like, and the rules they make.

use super::keys::{now, required};
use super::problem::{Fault, Report, printable, quote};
use super::read::texts;
use super::shape::{Shape, Table};
use super::text::{Kind, MAX_NAME};
use super::tree::{Node, Value};
use crate::notify::{Occasion, Rule, Target, has_login};

/// Longest address of mail, in bytes.
pub(super) const MAX_MAIL: usize = 254;

const IDENTIFIER: Shape = Shape::Text(Kind::Identifier);
const ON: &str = "After which results. Default: fail and fixed.";
/// Those of [`Occasion`], and the original's in capitals.
const OCCASION: Shape = Shape::Choice(&[
    "pass",
    "fail",
    "error",
    "broken",
    "fixed",
    "still_failing",
    "cancelled",
    "blocked",
    "skip",
    "PASS",
    "FAIL",
    "SKIP",
]);
const OCCASIONS: Shape = Shape::List { of: &OCCASION, max: 20 };
const MAILS: Shape = Shape::Either(&[
    Shape::Text(Kind::MailAddress),
    Shape::List { of: &Shape::Text(Kind::MailAddress), max: 20 },
]);
const SLACKS: Shape =
    Shape::Either(&[Shape::Table(&SLACK), Shape::List { of: &Shape::Table(&SLACK), max: PLACES }]);
const WEBHOOKS: Shape =
    Shape::Either(&[Shape::Table(&WEBHOOK), Shape::List { of: &Shape::Table(&WEBHOOK), max: PLACES }]);
const EMAILS: Shape =
    Shape::Either(&[Shape::Table(&EMAIL), Shape::List { of: &Shape::Table(&EMAIL), max: PLACES }]);
/// Most places of each kind that are told.
const PLACES: usize = 10;

/// The key `notify`.
pub(super) static NOTIFY: Table = Table {
    name: "notify",
    what: "`notify`",
    groups: &[&[
        now("slack", SLACKS, "A message in Slack, or several in a list."),
        now("webhook", WEBHOOKS, "A signed HTTP request, or several in a list."),
        now("email", EMAILS, "A mail, or several in a list."),
    ]],
};

static SLACK: Table = Table {
    name: "slack",
    what: "`slack`",
    groups: &[&[
        now("channel", Shape::Text(Kind::Channel), "#channel or @user. Default: the webhook's own channel."),
        required("identifier", IDENTIFIER, "The credential to use, of kind notify."),
        now("on", OCCASIONS, ON),
    ]],
};

static WEBHOOK: Table = Table {
    name: "webhook",
    what: "`webhook`",
    groups: &[&[
        now("url", Shape::Text(Kind::WebAddress), "Where to, when the credential has no url."),
        required("identifier", IDENTIFIER, "The credential with which it is signed, of kind notify."),
        now("on", OCCASIONS, ON),
    ]],
};

static EMAIL: Table = Table {
    name: "email",
    what: "`email`",
    groups: &[&[
        now("to", MAILS, "To whom. Default: those of the credential."),
        required("identifier", IDENTIFIER, "The credential of the mail server, of kind notify."),
        now("on", OCCASIONS, ON),
    ]],
};

/// The name or the `id` of a credential.
pub(super) fn identifier(text: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(good) {
        return Ok(());
    }
    let message = format!(
        "{} is no name of a credential: letters, digits, `.`, `_` and `-`, at most {MAX_NAME}",
        quote(text)
    );
    Err(Fault::new("name", message))
}

/// `#channel` or `@user`; empty for none.
pub(super) fn channel(text: &str) -> Result<(), Fault> {
    if text.len() <= MAX_NAME && text.chars().all(printable) {
        return Ok(());
    }
    Err(Fault::new("name", format!("{} is no channel: at most {MAX_NAME} printable bytes", quote(text))))
}

/// Where it leads is looked at when something is sent there.
pub(super) fn web_address(text: &str) -> Result<(), Fault> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = |c: char| printable(c) && c != ' ';
    if has_login(text) {
        // Not quoted: it is seen by all who see the build.
        let fault = Fault::new(
            "url",
            "a user and a password stand in this address, and everybody can read this file",
        );
        return Err(
            fault.hint("leave `url` out and keep the address in the credential, in the line after its key")
        );
    }
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(good)) {
        return Ok(());
    }
    Err(Fault::new("url", format!("{} is no address", quote(text))).hint("write `https://example.org/path`"))
}

pub(super) fn mail_address(text: &str) -> Result<(), Fault> {
    let good = |c: char| printable(c) && !matches!(c, ' ' | ',' | '<' | '>' | '"' | '@');
    let is_mail = |(user, host): (&str, &str)| {
        !user.is_empty() && !host.is_empty() && user.chars().all(good) && host.chars().all(good)
    };
    if text.len() <= MAX_MAIL && text.split_once('@').is_some_and(is_mail) {
        return Ok(());
    }
    Err(Fault::new("mail", format!("{} is no address of mail", quote(text))).hint("write `me@example.org`"))
}

/// The rules of a checked `notify`.
pub(super) fn rules(notify: &Node, report: &mut Report) -> Vec<Rule> {
    for place in ["slack", "webhook", "email"].into_iter().filter_map(|key| notify.find(key)) {
        match &place.value {
            Value::List(items) => items.iter().for_each(|item| wants_something(item, report)),
            Value::Map(_) | Value::Text { .. } | Value::Null | Value::Broken => {
                wants_something(place, report);
            }
        }
    }
    let slack = |node: &Node| Target::Slack(text(node, "channel"));
    let webhook = |node: &Node| Target::Webhook(text(node, "url"));
    let email = |node: &Node| Target::Email(node.find("to").map(texts).unwrap_or_default());
    let mut rules = places(notify, "slack", slack);
    rules.extend(places(notify, "webhook", webhook));
    rules.extend(places(notify, "email", email));
    rules
}

/// An empty list would tell nobody of anything.
fn wants_something(place: &Node, report: &mut Report) {
    if let Some(on) = place.find("on")
        && matches!(&on.value, Value::List(items) if items.is_empty())
    {
        let fault = Fault::new("range", "`on` is empty, so nothing would ever be told here");
        let hint = "leave `on` out for `[fail, fixed]`, or take the whole place out to tell nobody";
        report.add(on.head(), fault.hint(hint));
    }
}

/// One place, or several in a list.
fn places(notify: &Node, key: &str, target: fn(&Node) -> Target) -> Vec<Rule> {
    let Some(node) = notify.find(key) else { return Vec::new() };
    match &node.value {
        Value::List(items) => items.iter().filter_map(|item| rule(item, target(item))).collect(),
        Value::Map(_) | Value::Text { .. } | Value::Null | Value::Broken => {
            rule(node, target(node)).into_iter().collect()
        }
    }
}

fn rule(node: &Node, to: Target) -> Option<Rule> {
    let on: Vec<Occasion> = match node.find("on") {
        None => Occasion::USUAL.to_vec(),
        Some(on) => texts(on).iter().filter_map(|word| word.parse().ok()).collect(),
    };
    Some(Rule { identifier: text(node, "identifier")?, to, on })
}

/// The text of a key; an empty one is none.
fn text(node: &Node, key: &str) -> Option<String> {
    node.find(key).and_then(Node::text).filter(|text| !text.is_empty()).map(str::to_owned)
}
