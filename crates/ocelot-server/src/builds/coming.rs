//! From an event to what is to be built, or stopped, and what is to be thought of its commit. No I/O.

use ocelot_model::event::{
    Change, CommitId, MergeGroup, PullRequestAction, PullRequestEvent, RefChange, RefName,
};
use ocelot_model::forge::Account;
use ocelot_model::{Approvals, Event, EventKind, Trust};

use super::plan::Origin;

/// What a part of a webhook asks for.
#[derive(Debug)]
pub(super) enum Wish {
    /// A build.
    Build(Box<Coming>),
    /// A branch or tag is gone, in these words: nothing of it needs to begin any more.
    Stop { name: RefName, why: String },
}

/// A commit that came.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) commit: CommitId,
    /// Where a pull request comes from, in the forge's words.
    pub(super) source: Option<String>,
    /// A pull request whose newest build is of this commit needs no further one.
    pub(super) again_is_same: bool,
    pub(super) origin: Origin,
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
            return Wish::Stop { why: format!("{what} {branch} was deleted"), name: change.name.clone() };
        }
    };
    let origin = Origin {
        before,
        tag,
        author_id: id(sender),
        ..Origin::new(event, &branch, name(sender), Trust::own())
    };
    Wish::Build(Box::new(Coming { commit, source: None, again_is_same: false, origin }))
}

fn of_pull_request(event: &PullRequestEvent, approvals: Approvals) -> Wish {
    let request = &event.pull_request;
    let (branch, trust) = (&request.source_branch, Trust::of(request, approvals));
    let origin = Origin {
        goes_to: Some(request.target_branch.clone()),
        pull_request: Some(request.number),
        title: request.title.clone(),
        author_id: id(request.author.as_ref()),
        ..Origin::new(EventKind::PullRequest, branch, name(event.sender.as_ref()), trust)
    };
    Wish::Build(Box::new(Coming {
        commit: request.commit.clone(),
        source: request.source.as_ref().map(|source| source.full_name.clone()),
        again_is_same: event.action == PullRequestAction::Updated,
        origin,
    }))
}

fn of_merge_group(group: &MergeGroup) -> Wish {
    if !group.wanted {
        let why = format!("the merge queue does not want {} any more", group.branch);
        return Wish::Stop { name: RefName::Branch(group.branch.clone()), why };
    }
    let sender = group.sender.as_ref();
    let origin = Origin {
        goes_to: Some(group.target_branch.clone()),
        author_id: id(sender),
        ..Origin::new(EventKind::PullRequest, &group.branch, name(sender), Trust::own())
    };
    Wish::Build(Box::new(Coming { commit: group.commit.clone(), source: None, again_is_same: false, origin }))
}
