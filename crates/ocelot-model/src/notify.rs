//! Who is told of a build: on which occasions, where, and what a place must look like. Nothing here sends.
//!
//! Rules stand in `ocelot.yml` (`notify`), and in credentials of kind `notify` that have an `on`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Status;

/// Something about a build that one may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// It passed.
    Pass,
    /// It failed, by its script, by an error or by time.
    Fail,
    /// Infrastructure or configuration was at fault.
    Error,
    /// It failed, and the build before it had not.
    Broken,
    /// It passed, and the build before it had failed.
    Fixed,
    /// It failed, as the build before it had.
    StillFailing,
    /// Somebody, or a newer push, stopped it.
    Cancelled,
    /// It waits for a person.
    Blocked,
    /// No rule wanted anything of it to run.
    Skip,
}

impl Occasion {
    /// All there are.
    pub const ALL: [Occasion; 9] = [
        Occasion::Pass,
        Occasion::Fail,
        Occasion::Error,
        Occasion::Broken,
        Occasion::Fixed,
        Occasion::StillFailing,
        Occasion::Cancelled,
        Occasion::Blocked,
        Occasion::Skip,
    ];

    /// What a rule without `on` means: a failure, and its end.
    pub const USUAL: [Occasion; 2] = [Occasion::Fail, Occasion::Fixed];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Occasion::Pass => "pass",
            Occasion::Fail => "fail",
            Occasion::Error => "error",
            Occasion::Broken => "broken",
            Occasion::Fixed => "fixed",
            Occasion::StillFailing => "still_failing",
            Occasion::Cancelled => "cancelled",
            Occasion::Blocked => "blocked",
            Occasion::Skip => "skip",
        }
    }
}

impl std::fmt::Display for Occasion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no occasion.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no occasion; one of pass, fail, error, broken, fixed, still_failing, cancelled, blocked, skip"
)]
pub struct UnknownOccasion(pub String);

impl std::str::FromStr for Occasion {
    type Err = UnknownOccasion;

    /// Also in capitals, as the original has them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Occasion::ALL.into_iter();
        all.find(|one| one.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownOccasion(text.to_owned()))
    }
}

/// True for a build that ended badly.
const fn is_bad(status: Status) -> bool {
    match status {
        Status::Failed | Status::Error | Status::TimedOut => true,
        Status::Blocked
        | Status::Queued
        | Status::Running
        | Status::Passed
        | Status::Cancelled
        | Status::Skipped => false,
    }
}

/// What a build that stands so is an occasion of. `before` is how the one before it on its branch ended that said something
/// of its commit: passed, failed, error or timed out.
pub fn occasions(status: Status, before: Option<Status>) -> &'static [Occasion] {
    let was_bad = before.is_some_and(is_bad);
    match (status, was_bad) {
        (Status::Passed, false) => &[Occasion::Pass],
        (Status::Passed, true) => &[Occasion::Pass, Occasion::Fixed],
        (Status::Failed | Status::TimedOut, false) => &[Occasion::Fail, Occasion::Broken],
        (Status::Failed | Status::TimedOut, true) => &[Occasion::Fail, Occasion::StillFailing],
        (Status::Error, false) => &[Occasion::Fail, Occasion::Error, Occasion::Broken],
        (Status::Error, true) => &[Occasion::Fail, Occasion::Error, Occasion::StillFailing],
        (Status::Cancelled, _) => &[Occasion::Cancelled],
        (Status::Blocked, _) => &[Occasion::Blocked],
        (Status::Skipped, _) => &[Occasion::Skip],
        (Status::Queued | Status::Running, _) => &[],
    }
}

/// How somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// An incoming webhook of Slack.
    Slack,
    /// A signed HTTP request.
    Webhook,
    /// A mail.
    Email,
}

impl Medium {
    /// All there are.
    pub const ALL: [Medium; 3] = [Medium::Slack, Medium::Webhook, Medium::Email];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Medium::Slack => "slack",
            Medium::Webhook => "webhook",
            Medium::Email => "email",
        }
    }

    /// What a credential of kind `notify` with these fields is for; `None` when its `type` is no word of ours. The
    /// original knew Slack alone.
    pub fn of(fields: &BTreeMap<String, String>) -> Option<Medium> {
        let Some(word) = fields.get("type") else { return Some(Medium::Slack) };
        Medium::ALL.into_iter().find(|medium| medium.as_str().eq_ignore_ascii_case(word))
    }
}

impl std::fmt::Display for Medium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where it goes, beside what the credential says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `#channel` or `@user`; `None`: the one for which the webhook was made.
    Slack(Option<String>),
    /// An address, for a credential that has none.
    Webhook(Option<String>),
    /// Addresses of mail; none: those of the credential.
    Email(Vec<String>),
}

/// One wish to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The credential to use: its name, or its `id`.
    pub identifier: String,
    /// Where it goes.
    pub to: Target,
    /// When.
    pub on: Vec<Occasion>,
}

impl Rule {
    /// How it is told.
    pub const fn medium(&self) -> Medium {
        match self.to {
            Target::Slack(_) => Medium::Slack,
            Target::Webhook(_) => Medium::Webhook,
            Target::Email(_) => Medium::Email,
        }
    }

    /// True when it wants to hear of one of these.
    pub fn wants(&self, occasions: &[Occasion]) -> bool {
        self.on.iter().any(|one| occasions.contains(one))
    }

    /// The place in words: `team_slack #ci`. Two rules with the same one are told once.
    pub fn place(&self) -> String {
        let to = match &self.to {
            Target::Slack(to) => to.clone().unwrap_or_default(),
            Target::Webhook(to) => to.as_deref().map(without_login).unwrap_or_default(),
            Target::Email(to) => to.join(", "),
        };
        format!("{} {to}", self.identifier).trim_end().to_owned()
    }

    /// The wish of a credential that wants to be used for every repository in its scope; `None` when it has no `on`.
    pub fn of_credential(name: &str, fields: &BTreeMap<String, String>) -> Option<Rule> {
        let on = read_on(fields.get("on")?).ok()?;
        let to = match Medium::of(fields)? {
            Medium::Slack => Target::Slack(fields.get("channel").cloned()),
            Medium::Webhook => Target::Webhook(None),
            Medium::Email => Target::Email(Vec::new()),
        };
        Some(Rule { identifier: name.to_owned(), to, on })
    }
}

/// `fail, fixed`.
fn read_on(text: &str) -> Result<Vec<Occasion>, UnknownOccasion> {
    text.split(',').map(|word| word.trim().parse()).collect()
}

/// The address as it may be shown: what stands before the host to sign in there is a secret.
pub fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match host.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// True for an address that signs in with what stands before its host.
pub fn has_login(url: &str) -> bool {
    without_login(url) != url
}

/// Addresses of mail with commas between them.
pub fn mail_list(text: &str) -> Vec<String> {
    text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// Why these fields of a credential of kind `notify` make no sense.
pub fn check_fields(fields: &BTreeMap<String, String>) -> Result<(), String> {
    let medium = Medium::of(fields).ok_or("type: one of slack, webhook, email")?;
    let of_medium = |name: &str| match name {
        "type" | "id" | "detail_url" | "on" => true,
        "channel" => medium == Medium::Slack,
        "url" => medium != Medium::Slack,
        _ => medium == Medium::Email,
    };
    if let Some(name) = fields.keys().find(|name| !of_medium(name)) {
        return Err(format!("a credential of kind notify and type {medium} has no field `{name}`"));
    }
    let on = fields.get("on").map(|on| read_on(on).map_err(|error| format!("on: {error}"))).transpose()?;
    let need = |name: &str, why: &str| match fields.get(name) {
        Some(_) => Ok(()),
        None => Err(format!("a credential of kind notify and type {medium} needs `{name}`{why}")),
    };
    match medium {
        // The address of a webhook may stand in the value.
        Medium::Slack | Medium::Webhook => Ok(()),
        Medium::Email => {
            need("url", ", such as smtp://mail.example.org:587 (STARTTLS) or smtps://mail.example.org:465")?;
            need("from", ", the sender's address")?;
            if on.is_some() { need("to", ", because it has an `on`") } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_occasion_of_what() {
        // How the build stands, how the one before ended, and what that is.
        let check = |status: Status, before: &str, want: &str| {
            let before = (before != "-").then(|| before.parse().unwrap());
            let got: Vec<&str> = occasions(status, before).iter().map(|one| one.as_str()).collect();
            assert_eq!(got.join(" "), want, "{status} after {before:?}");
        };
        check(Status::Passed, "-", "pass");
        check(Status::Passed, "passed", "pass");
        for bad in ["failed", "error", "timed_out"] {
            check(Status::Passed, bad, "pass fixed");
            check(Status::Failed, bad, "fail still_failing");
            check(Status::TimedOut, bad, "fail still_failing");
            check(Status::Error, bad, "fail error still_failing");
        }
        for good in ["-", "passed"] {
            check(Status::Failed, good, "fail broken");
            check(Status::TimedOut, good, "fail broken");
            check(Status::Error, good, "fail error broken");
        }
        for before in ["-", "passed", "failed", "error", "timed_out"] {
            check(Status::Cancelled, before, "cancelled");
            check(Status::Blocked, before, "blocked");
            check(Status::Skipped, before, "skip");
            check(Status::Queued, before, "");
            check(Status::Running, before, "");
        }
    }

    #[test]
    fn words_round_trip_in_capitals_too() {
        for one in Occasion::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
            assert_eq!(one.as_str().to_uppercase().parse(), Ok(one));
        }
        assert!("sometimes".parse::<Occasion>().is_err());
    }

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_of_credentials() {
        let check = |pairs: &[(&str, &str)], want: &str| {
            let said = check_fields(&fields(pairs)).err().unwrap_or_default();
            assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{pairs:?}: {said}");
        };
        let (url, from) = (("url", "smtps://mail.example.org"), ("from", "ci@example.org"));
        check(&[], "");
        check(
            &[("type", "SLACK"), ("detail_url", "https://x"), ("channel", "#ci"), ("on", "FAIL, fixed")],
            "",
        );
        check(&[("type", "pigeon")], "one of slack, webhook, email");
        check(&[("on", "fail, never")], "`never` is no occasion");
        check(&[("url", "https://x")], "type slack has no field `url`");
        check(&[("type", "webhook"), ("url", "https://x"), ("on", "pass")], "");
        check(&[("type", "webhook"), ("on", "pass")], "");
        check(&[("type", "webhook"), ("to", "x")], "has no field `to`");
        check(&[("type", "email"), url, from, ("username", "u")], "");
        check(&[("type", "email"), from], "needs `url`");
        check(&[("type", "email"), url], "needs `from`");
        check(&[("type", "email"), url, from, ("on", "fail")], "needs `to`");
    }

    #[test]
    fn what_of_an_address_may_be_shown() {
        let check = |url: &str, want: &str| assert_eq!(without_login(url), want);
        check("https://h/x@y?z#@", "https://h/x@y?z#@");
        check("https://me:pw@h:1/x", "https://***@h:1/x");
        check("https://a@b:pw@h?x", "https://***@h?x");
        check("nothing", "nothing");
        let url = Some("https://me:pw@h/x".to_owned());
        let rule = Rule { identifier: "w".to_owned(), to: Target::Webhook(url), on: Vec::new() };
        assert_eq!(rule.place(), "w https://***@h/x");
    }

    #[test]
    fn a_credential_with_an_on_is_a_rule() {
        assert_eq!(Rule::of_credential("team", &fields(&[])), None);
        let rule = Rule::of_credential("team", &fields(&[("on", "FAIL"), ("channel", "#ci")])).unwrap();
        assert_eq!((rule.medium(), rule.place()), (Medium::Slack, "team #ci".to_owned()));
        assert!(rule.wants(occasions(Status::Error, None)) && !rule.wants(occasions(Status::Passed, None)));
    }
}
