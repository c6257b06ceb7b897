//! What others are told: events, forges, people, and builds that follow a build.

use std::collections::BTreeMap;
use std::time::Duration;

use ocelot_model::notify::Rule;
use ocelot_model::{BuildNumber, RepoId};

use super::{Kind, Store};
use crate::{
    Downstream, Event, FailingNotice, Joined, Pass, PassTurn, Post, Seen, StoreError, Subscription,
    Undelivered, Upstream, calls,
};

impl Store {
    /// Events after `seq`, oldest first; of one build or of all.
    pub async fn events_after(
        &self,
        seq: i64,
        build: Option<BuildNumber>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        each!(self, core => core.events_after(seq, build, limit).await)
    }

    /// The newest event's number.
    pub async fn last_event(&self) -> Result<i64, StoreError> {
        each!(self, core => core.last_event().await)
    }

    /// Where something is to be sent to, and how long that has time.
    pub async fn outbox_lanes(&self) -> Result<Vec<(String, Duration)>, StoreError> {
        each!(self, core => core.outbox_lanes().await)
    }

    /// What is to be sent there now, at most so many. Nobody else gets it before `busy` is over, so that what is newer
    /// never overtakes it.
    pub async fn take_posts(&self, lane: &str, most: u32, busy: Duration) -> Result<Vec<Post>, StoreError> {
        each_again!(self, core => core.take_posts(lane, most, busy))
    }

    /// It was sent. When there is something newer to be said by now, that is still owed.
    pub async fn post_sent(&self, post: &Post) -> Result<(), StoreError> {
        each!(self, core => core.post_sent(post).await)
    }

    /// It was not taken: it is owed again after a while, unless that has gone on for so long that it is given up, which
    /// is answered. Its notice is kept as it is in `post`: some may have been told.
    pub async fn post_failed(
        &self,
        post: &Post,
        error: &str,
        again_in: Duration,
        give_up: Duration,
    ) -> Result<bool, StoreError> {
        each_again!(self, core => core.post_failed(post, error, again_in, give_up))
    }

    /// What could not be said of a build so far.
    pub async fn undelivered(&self, build: BuildNumber) -> Result<Vec<Undelivered>, StoreError> {
        each!(self, core => core.undelivered(build).await)
    }

    /// Whom the newest file of the repository's default branch wants to be told.
    pub async fn repo_rules(&self, repo: RepoId) -> Result<Vec<Rule>, StoreError> {
        each!(self, core => core.repo_rules(repo).await)
    }

    /// By which rules a build is told of, beside those of credentials.
    pub async fn build_rules(&self, build: BuildNumber) -> Result<Vec<Rule>, StoreError> {
        each!(self, core => core.build_rules(build).await)
    }

    /// Notifications that could not be sent so far, those of the newest builds first; at most 1000, of the repositories in
    /// `readable`.
    pub async fn failing_notices(
        &self,
        repo: Option<RepoId>,
        readable: &[RepoId],
    ) -> Result<Vec<FailingNotice>, StoreError> {
        each!(self, core => core.failing_notices(repo, readable).await)
    }

    /// All subscriptions, by repository.
    pub async fn list_subscriptions(&self) -> Result<Vec<Subscription>, StoreError> {
        each!(self, core => core.list_subscriptions().await)
    }

    /// How what the file of a repository says beside its builds stands.
    pub async fn beside(&self, repo: RepoId) -> Result<Seen, StoreError> {
        each!(self, core => core.beside(repo).await)
    }

    /// The builds that these follow.
    pub async fn upstreams_of(
        &self,
        builds: &[BuildNumber],
    ) -> Result<BTreeMap<BuildNumber, Upstream>, StoreError> {
        each!(self, core => core.upstreams_of(builds).await)
    }

    /// The builds that follow this one, the newest first, at most 100.
    pub async fn downstream_of(&self, build: BuildNumber) -> Result<Vec<Downstream>, StoreError> {
        each!(self, core => core.downstream_of(build).await)
    }

    /// Takes a build that passed and that another one is to follow, for so long.
    pub async fn take_pass(&self, time: Duration) -> Result<Option<(Pass, PassTurn)>, StoreError> {
        each_again!(self, core => core.take_pass(time))
    }

    /// Still at it, for this long from now; [`StoreError::Stale`] when it is done, or another server's.
    pub async fn keep_pass(&self, turn: PassTurn, time: Duration) -> Result<(), StoreError> {
        each!(self, core => core.keep_pass(turn, time).await)
    }

    /// Whether a build of this branch and commit, which follows an earlier one and has not begun, can follow this one
    /// instead; then it does. None is moved back to what is older than what it follows.
    pub async fn join_pass(&self, turn: PassTurn, branch: &str, commit: &str) -> Result<Joined, StoreError> {
        each_again!(self, core => core.join_pass(turn, branch, commit))
    }

    /// Says what came of one without a build; `again`: it is tried again after this time.
    pub async fn settle_pass(
        &self,
        turn: PassTurn,
        outcome: &str,
        again: Option<Duration>,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.settle_pass(turn, outcome, again))
    }
}
