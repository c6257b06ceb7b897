//! From an event to what is to be built, or stopped, and what is to be thought of its commit. No I/O.

use ocelot_model::event::{
    Change, CommitId, MergeGroup, PullRequestAction, PullRequestEvent, RefChange, RefName,
};
use ocelot_model::forge::Account;
use ocelot_model::{Approvals, Event, EventKind, Trust};
use ocelot_store::Older;

/// What a part of a webhook asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A build.
    Build(Box<Coming>),
    /// A branch or tag is gone, in these words: nothing of it needs to begin any more.
    Stop { branch: String, why: String },
}

/// A commit that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coming {
    pub(super) event: EventKind,
    /// The branch that it is on, or the tag.
    pub(super) branch: String,
    /// The name that `branches` is about: of a pull request the branch that it goes to.
    pub(super) goes_to: String,
    pub(super) commit: CommitId,
    /// Where the branch was before, when it was there.
    pub(super) before: Option<CommitId>,
    pub(super) tag: Option<String>,
    pub(super) pull_request: Option<u64>,
    /// Title of the pull request.
    pub(super) title: String,
    /// The forge's number of who wrote it.
    pub(super) author_id: String,
    /// Name of who sent it.
    pub(super) sender: String,
    pub(super) trust: Trust,
    /// A pull request whose newest build is of this commit needs no further one.
    pub(super) again_is_same: bool,
}

impl Coming {
    /// Which builds are older ones of the same: of a pull request from elsewhere the branch's name says nothing.
    pub(super) fn older(&self) -> Older<'_> {
        match self.pull_request {
            Some(number) if !self.trust.origin.is_trusted() => Older::PullRequest(number),
            Some(_) | None => Older::Branch(&self.branch),
        }
    }
}

/// What the part at this place asks for, in a repository with this setting.
pub(super) fn wish(event: &Event, place: usize, approvals: Approvals) -> Option<Wish> {
    match event {
        Event::Push(push) => push.changes.get(place).map(|change| of_ref(change, push.sender.as_ref())),
        Event::PullRequest(event) => Some(of_pull_request(event, approvals)),
        Event::MergeGroup(group) => Some(of_merge_group(group)),
        Event::Ping(_) | Event::Ignored(_) => None,
    }
}

fn id(account: Option<&Account>) -> String {
    account.map(|account| account.id.to_string()).unwrap_or_default()
}

fn name(account: Option<&Account>) -> String {
    account.map(|account| account.name.clone()).unwrap_or_default()
}

fn of_ref(change: &RefChange, sender: Option<&Account>) -> Wish {
    let (event, branch, tag) = match &change.name {
        RefName::Branch(name) => (EventKind::Push, name.clone(), None),
        RefName::Tag(name) => (EventKind::Tag, name.clone(), Some(name.clone())),
    };
    let (before, commit) = match &change.change {
        Change::Created { after } => (None, after.clone()),
        Change::Moved { before, after } => (Some(before.clone()), after.clone()),
        Change::Deleted { .. } => {
            let what = if tag.is_some() { "tag" } else { "branch" };
            return Wish::Stop { why: format!("{what} {branch} was deleted"), branch };
        }
    };
    Wish::Build(Box::new(Coming {
        event,
        goes_to: branch.clone(),
        branch,
        commit,
        before,
        tag,
        pull_request: None,
        title: String::new(),
        author_id: id(sender),
        sender: name(sender),
        trust: Trust::own(),
        again_is_same: false,
    }))
}

fn of_pull_request(event: &PullRequestEvent, approvals: Approvals) -> Wish {
    let request = &event.pull_request;
    Wish::Build(Box::new(Coming {
        event: EventKind::PullRequest,
        branch: request.source_branch.clone(),
        goes_to: request.target_branch.clone(),
        commit: request.commit.clone(),
        before: None,
        tag: None,
        pull_request: Some(request.number),
        title: request.title.clone(),
        author_id: id(request.author.as_ref()),
        sender: name(event.sender.as_ref()),
        trust: Trust::of(request, approvals),
        again_is_same: event.action == PullRequestAction::Updated,
    }))
}

fn of_merge_group(group: &MergeGroup) -> Wish {
    if !group.wanted {
        let why = format!("the merge queue does not want {} any more", group.branch);
        return Wish::Stop { branch: group.branch.clone(), why };
    }
    Wish::Build(Box::new(Coming {
        event: EventKind::PullRequest,
        branch: group.branch.clone(),
        goes_to: group.target_branch.clone(),
        commit: group.commit.clone(),
        before: None,
        tag: None,
        pull_request: None,
        title: String::new(),
        author_id: id(group.sender.as_ref()),
        sender: name(group.sender.as_ref()),
        trust: Trust::own(),
        again_is_same: false,
    }))
}
