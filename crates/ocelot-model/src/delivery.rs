//! Webhooks after they were verified: what each tells in parts, and what becomes of it.
//!
//! A forge may send the same thing twice, under another name and by another webhook. Two parts are copies when their
//! keys are equal, nothing came between them, and they came soon after each other; that is for the store to say.

use serde::{Deserialize, Serialize};

use crate::event::{
    Change, CommitId, Event, MergeGroup, PullRequestAction, PullRequestEvent, RefChange, RefName,
};

/// What became of a delivery, or of one part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Nothing yet.
    Waiting,
    /// There is a build of its commit.
    Built,
    /// A rule says that nothing is built.
    Skipped,
    /// It came before.
    Duplicate,
    /// Something newer of the same branch or pull request was built in the meantime.
    Superseded,
    /// It tells nothing that is built.
    Ignored,
    /// It must not be built.
    Refused,
    /// It could not be done; it can be replayed.
    Failed,
    /// An earlier delivery has the same name and another body.
    Conflict,
}

impl DeliveryState {
    /// All there are.
    pub const ALL: [DeliveryState; 9] = [
        DeliveryState::Waiting,
        DeliveryState::Built,
        DeliveryState::Skipped,
        DeliveryState::Duplicate,
        DeliveryState::Superseded,
        DeliveryState::Ignored,
        DeliveryState::Refused,
        DeliveryState::Failed,
        DeliveryState::Conflict,
    ];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Built => "built",
            DeliveryState::Skipped => "skipped",
            DeliveryState::Duplicate => "duplicate",
            DeliveryState::Superseded => "superseded",
            DeliveryState::Ignored => "ignored",
            DeliveryState::Refused => "refused",
            DeliveryState::Failed => "failed",
            DeliveryState::Conflict => "conflict",
        }
    }

    /// Of all parts, the state that a reader should hear of.
    pub fn of_all(parts: impl IntoIterator<Item = DeliveryState>) -> DeliveryState {
        const ORDER: [DeliveryState; 9] = [
            DeliveryState::Waiting,
            DeliveryState::Failed,
            DeliveryState::Conflict,
            DeliveryState::Refused,
            DeliveryState::Built,
            DeliveryState::Superseded,
            DeliveryState::Skipped,
            DeliveryState::Duplicate,
            DeliveryState::Ignored,
        ];
        let rank = |state: &DeliveryState| ORDER.iter().position(|other| other == state);
        parts.into_iter().min_by_key(rank).unwrap_or(DeliveryState::Ignored)
    }
}

impl std::fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no state of a delivery.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no state of a delivery; one of waiting, built, skipped, duplicate, superseded, ignored, refused, failed, \
     conflict"
)]
pub struct UnknownDeliveryState(pub String);

impl std::str::FromStr for DeliveryState {
    type Err = UnknownDeliveryState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = DeliveryState::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| UnknownDeliveryState(text.to_owned()))
    }
}

/// What kind of thing a part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// A branch.
    Push,
    /// A tag.
    Tag,
    /// A pull request.
    PullRequest,
    /// A merge queue.
    MergeGroup,
}

impl PartKind {
    /// The word for it, as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            PartKind::Push => "push",
            PartKind::Tag => "tag",
            PartKind::PullRequest => "pull_request",
            PartKind::MergeGroup => "merge_group",
        }
    }
}

/// One thing that a webhook tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What kind of thing.
    pub kind: PartKind,
    /// Which one: `refs/heads/x`, `refs/tags/x`, `pull/3`.
    pub subject: String,
    /// The commit before; empty when it was not there, `None` when the forge does not say.
    pub before: Option<String>,
    /// The commit now; empty when it is gone.
    pub after: Option<String>,
    /// The branch that a pull request goes to.
    pub target: Option<String>,
    /// What else makes it different from others with the same commits.
    pub also: String,
}

impl Part {
    /// Equal for two copies of one event. Lines: names hold no control characters.
    pub fn key(&self) -> String {
        let side = |id: &Option<String>| id.clone().unwrap_or_else(|| "?".to_owned());
        let (before, after) = (side(&self.before), side(&self.after));
        format!("{}\n{}\n{before}\n{after}\n{}", self.kind.as_str(), self.subject, self.also)
    }

    /// Nothing is to be built: a branch or tag is gone, or a merge queue asks no longer.
    pub fn is_end(&self) -> bool {
        self.after.as_deref() == Some("")
    }
}

/// What an event tells, in order; or why nothing is to be done.
pub fn parts(event: &Event) -> Result<Vec<Part>, String> {
    match event {
        Event::Push(push) => Ok(push.changes.iter().map(of_ref).collect()),
        Event::PullRequest(event) => of_pull_request(event).map(|part| vec![part]),
        Event::MergeGroup(group) => Ok(vec![of_merge_group(group)]),
        Event::Ping(_) => Err("the forge tries the webhook".to_owned()),
        Event::Ignored(why) => Err(why.clone()),
    }
}

fn text(commit: &CommitId) -> String {
    commit.as_str().to_owned()
}

fn of_ref(change: &RefChange) -> Part {
    let (kind, subject) = match &change.name {
        RefName::Branch(name) => (PartKind::Push, format!("refs/heads/{name}")),
        RefName::Tag(name) => (PartKind::Tag, format!("refs/tags/{name}")),
    };
    let (before, after) = match &change.change {
        Change::Created { after } => (Some(String::new()), text(after)),
        Change::Moved { before, after } => (Some(text(before)), text(after)),
        Change::Deleted { before } => (before.as_ref().map(text), String::new()),
    };
    Part { kind, subject, before, after: Some(after), target: None, also: String::new() }
}

fn of_pull_request(event: &PullRequestEvent) -> Result<Part, String> {
    let request = &event.pull_request;
    let number = request.number;
    let word = match event.action {
        PullRequestAction::Opened => "opened",
        PullRequestAction::Updated => "updated",
        PullRequestAction::Reopened => "reopened",
        PullRequestAction::Retargeted => "retargeted",
        PullRequestAction::TitleEdited => return Err(format!("pull request {number} has another title")),
        PullRequestAction::Merged => return Err(format!("pull request {number} was merged")),
        PullRequestAction::Closed => return Err(format!("pull request {number} was closed")),
    };
    Ok(Part {
        kind: PartKind::PullRequest,
        subject: format!("pull/{number}"),
        before: None,
        after: Some(text(&request.commit)),
        target: Some(request.target_branch.clone()),
        also: format!("{word}\n{}\n{}", request.target_branch, request.updated),
    })
}

fn of_merge_group(group: &MergeGroup) -> Part {
    let after = if group.wanted { text(&group.commit) } else { String::new() };
    Part {
        kind: PartKind::MergeGroup,
        subject: format!("refs/heads/{}", group.branch),
        before: None,
        after: Some(after),
        target: None,
        also: text(&group.commit),
    }
}

/// True for a text that asks not to be built.
pub fn says_skip(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["[skip ci]", "[ci skip]"].into_iter().any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip_and_the_one_that_matters_is_told() {
        use DeliveryState::{Built, Failed, Ignored, Skipped, Waiting};
        for state in DeliveryState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("lost".parse::<DeliveryState>(), Err(UnknownDeliveryState("lost".into())));
        for (parts, want) in [
            (&[Built, Waiting][..], Waiting),
            (&[Built, Failed], Failed),
            (&[Skipped, Built, Ignored], Built),
            (&[], Ignored),
        ] {
            assert_eq!(DeliveryState::of_all(parts.iter().copied()), want);
        }
    }

    #[test]
    fn marks_to_skip_are_seen_in_any_case() {
        for (text, want) in
            [("x [skip ci]", true), ("[CI Skip] x", true), ("skip ci", false), ("[skip cia]", false)]
        {
            assert_eq!(says_skip(text), want, "{text}");
        }
    }

    #[test]
    fn going_there_and_back_are_different_events() {
        let commit = |c: &str| CommitId::Whole(c.repeat(40));
        let moved = |from: &str, to: &str| {
            let change = Change::Moved { before: commit(from), after: commit(to) };
            of_ref(&RefChange { name: RefName::Branch("x".into()), change, message: None, author: None })
        };
        assert_eq!(moved("a", "b").key(), moved("a", "b").key());
        assert_ne!(moved("a", "b").key(), moved("b", "a").key());
        let gone = RefChange {
            name: RefName::Branch("x".into()),
            change: Change::Deleted { before: None },
            message: None,
            author: None,
        };
        let gone = of_ref(&gone);
        assert!(gone.is_end() && gone.before.is_none());
    }
}
