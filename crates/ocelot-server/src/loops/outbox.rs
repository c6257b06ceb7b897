//! Sends what is owed to the world outside. Each place outside has a lane of its own: one that is slow or away keeps nothing
//! else waiting. Several servers send beside each other; each thing is sent by one of them at a time.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use ocelot_forge::ApiError;
use ocelot_store::{Post, PostKind, StoreError, Wake};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::App;
use crate::forges::{ForgeError, send};
use crate::notify::{self, NotifyError};

/// So many are sent to one place at once.
const AT_ONCE: usize = 4;
/// Longest pause of a lane, and of one thing that its place does not take.
const LANE_PAUSE: Duration = Duration::from_mins(5);
const POST_PAUSE: Duration = Duration::from_hours(1);
/// What could not be sent for so long is given up.
const GIVE_UP: Duration = Duration::from_hours(24);
/// Nobody else sends the same for so much longer than sending may take.
const BUSY_MORE: Duration = Duration::from_secs(20);
/// What is on its way when the server stops may still arrive.
const GOODBYE: Duration = Duration::from_secs(3);

/// Runs until the server stops.
pub(super) async fn outbox(app: App) -> anyhow::Result<()> {
    let mut wakes = app.store.wakes();
    let mut work = Work { app: app.clone(), lanes: HashMap::new(), sending: JoinSet::new() };
    loop {
        let wait = work.look().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is to be sent cannot be read now");
            app.config.patience.look
        });
        tokio::select! {
            () = app.shutdown.cancelled() => break,
            () = woken(&mut wakes) => {}
            () = tokio::time::sleep(wait) => {}
            Some(ended) = work.sending.join_next(), if !work.sending.is_empty() => work.note(ended),
        }
    }
    let rest = async { while work.sending.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, rest).await;
    Ok(())
}

/// Returns when there may be something to send.
async fn woken(wakes: &mut Receiver<Wake>) {
    loop {
        match wakes.recv().await {
            Ok(Wake::Outbox | Wake::All) | Err(RecvError::Lagged(_)) => return,
            Ok(
                Wake::Queue
                | Wake::Events(_)
                | Wake::Log(_)
                | Wake::Cancel(_)
                | Wake::Worker(_)
                | Wake::Deliveries,
            ) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// One place outside, as this server sees it.
#[derive(Debug, Default)]
struct Lane {
    sending: usize,
    /// It did not answer, or wants no more for now.
    rest_until: Option<Instant>,
    /// So many times in a row.
    failures: u32,
}

/// What came of sending one thing.
struct Ended {
    lane: String,
    /// How long the whole lane had better wait.
    pause: Option<Duration>,
    went_well: bool,
}

struct Work {
    app: App,
    lanes: HashMap<String, Lane>,
    sending: JoinSet<Ended>,
}

impl Work {
    /// Begins to send what is due; answers when to look again.
    async fn look(&mut self) -> Result<Duration, StoreError> {
        let patience = self.app.config.patience;
        let mut next = patience.look;
        for (name, wait) in self.app.store.outbox_lanes().await? {
            let lane = self.lanes.entry(name.clone()).or_default();
            let rest = lane.rest_until.map(|until| until.saturating_duration_since(Instant::now()));
            let wait = wait.max(rest.unwrap_or_default());
            if !wait.is_zero() {
                next = next.min(wait);
                continue;
            }
            // One is enough to see whether it is well again.
            let most = if lane.failures > 0 { 1 } else { AT_ONCE };
            let room = most.saturating_sub(lane.sending);
            if room == 0 {
                continue;
            }
            let busy = patience.send + BUSY_MORE;
            for post in self.app.store.take_posts(&name, room as u32, busy).await? {
                lane.sending += 1;
                self.sending.spawn(send_one(self.app.clone(), name.clone(), lane.failures, post));
            }
        }
        Ok(next)
    }

    fn note(&mut self, ended: Result<Ended, JoinError>) {
        let Ok(Ended { lane, pause, went_well }) = ended else {
            tracing::error!("sending something failed; it is sent again later");
            // Which lane it was is not known: none of them may look busy for ever.
            self.lanes.values_mut().for_each(|lane| lane.sending = 0);
            return;
        };
        let lane = self.lanes.entry(lane).or_default();
        lane.sending = lane.sending.saturating_sub(1);
        if went_well {
            *lane = Lane { sending: lane.sending, ..Lane::default() };
        } else if let Some(pause) = pause {
            // Several that failed together are one failure.
            if lane.rest_until.is_none_or(|until| until <= Instant::now()) {
                lane.failures = lane.failures.saturating_add(1);
            }
            lane.rest_until = Some(Instant::now() + pause);
        }
    }
}

/// Why something could not be sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// Of a mail, the addresses that do not have it.
    #[error("not taken for {0}")]
    Partly(String),
    #[error("no answer in time")]
    Late,
}

/// Notes in `post` who has it, when not all do: the others are told later.
async fn send(app: &App, post: &mut Post) -> Result<(), SendError> {
    let Some(notice) = &post.notice else { return Ok(send::send(app, post).await?) };
    let Some(partly) = notify::send(app, post, notice).await?.partly else { return Ok(()) };
    if let Some(notice) = &mut post.notice {
        notice.told = partly.told;
    }
    Err(SendError::Partly(partly.words))
}

async fn send_one(app: App, lane: String, failures: u32, mut post: Post) -> Ended {
    let patience = app.config.patience;
    let sent = tokio::time::timeout(patience.send, send(&app, &mut post)).await;
    let Err(error) = sent.unwrap_or(Err(SendError::Late)) else {
        count(&post, "sent");
        if let Err(error) = app.store.post_sent(&post).await {
            tracing::warn!(%error, build = %post.build, "a {} of build {} may be sent twice", name(&post), post.build);
        }
        return Ended { lane, pause: None, went_well: true };
    };
    let pause = lane_pause(&error, patience.again, failures);
    let again = pause.unwrap_or_else(|| growing(patience.again * 10, post.tries * 2, POST_PAUSE));
    match app.store.post_failed(&post, &error.to_string(), again, GIVE_UP).await {
        Ok(true) => {
            count(&post, "given_up");
            tracing::warn!(build = %post.build, "a {} of build {} is given up: {error}", name(&post), post.build);
        }
        Ok(false) => {
            count(&post, "failed");
            tracing::info!(build = %post.build, "a {} of build {} is not sent yet: {error}", name(&post), post.build);
        }
        Err(error) => tracing::warn!(%error, "that something could not be sent cannot be written down"),
    }
    Ended { lane, pause, went_well: false }
}

fn name(post: &Post) -> &'static str {
    match post.kind {
        PostKind::Status | PostKind::Comment => post.kind.as_str(),
        PostKind::Notice(_) => "notification",
    }
}

/// Requests to forges are counted where they are made.
fn count(post: &Post, outcome: &'static str) {
    match post.kind {
        PostKind::Notice(medium) => crate::metrics::notification(medium, outcome),
        PostKind::Status | PostKind::Comment => {}
    }
}

/// How long to leave the whole place alone; `None` when only this one thing is not to its taste.
fn lane_pause(error: &SendError, first: Duration, failures: u32) -> Option<Duration> {
    let growing = growing(first, failures, LANE_PAUSE);
    match error {
        SendError::Forge(ForgeError::Api { error: ApiError::RateLimited { until }, .. })
        | SendError::Notify(NotifyError::Limited { until }) => {
            let said = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
            Some(said + jitter(first))
        }
        SendError::Forge(
            ForgeError::Api {
                error: ApiError::Unavailable(_) | ApiError::Unauthorized { .. } | ApiError::Nonsense(_),
                ..
            }
            | ForgeError::Settings(_)
            | ForgeError::Unknown(_)
            | ForgeError::PlainGit(_)
            | ForgeError::Store(_),
        )
        | SendError::Notify(NotifyError::Unavailable(_) | NotifyError::Store(_))
        | SendError::Late => Some(growing),
        SendError::Forge(
            ForgeError::Api {
                error:
                    ApiError::Forbidden(_) | ApiError::NotFound(_) | ApiError::TooLarge | ApiError::Refused { .. },
                ..
            }
            | ForgeError::BadRequest(_),
        )
        | SendError::Notify(NotifyError::Settings(_) | NotifyError::Refused(_))
        | SendError::Partly(_) => None,
    }
}

/// Twice as long each time, and not the same for all.
fn growing(first: Duration, times: u32, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << times.min(16)).min(longest);
    pause / 2 + jitter(pause)
}

fn jitter(of: Duration) -> Duration {
    of.mul_f64(rand::random_range(0.0..0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_end() {
        let second = Duration::from_secs(1);
        for (times, range) in [(0, 500..1000), (3, 4_000..8_000), (99, 150_000..300_000)] {
            let pause = growing(second, times, LANE_PAUSE).as_millis();
            assert!(range.contains(&pause), "{times}: {pause}");
        }
    }

    #[test]
    fn a_forge_that_says_how_long_is_left_alone_for_so_long() {
        let until = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(600)).expect("a time");
        let of_forge =
            |error| SendError::Forge(ForgeError::Api { forge: "f".to_owned(), error, help: String::new() });
        for error in
            [of_forge(ApiError::RateLimited { until }), SendError::Notify(NotifyError::Limited { until })]
        {
            let pause = lane_pause(&error, Duration::from_secs(1), 0).expect("a pause").as_secs();
            assert!((598..=601).contains(&pause), "{pause}");
        }
        let one = |error| lane_pause(&error, Duration::from_secs(1), 0);
        assert!(one(of_forge(ApiError::NotFound(String::new()))).is_none());
        assert!(one(SendError::Notify(NotifyError::Refused(String::new()))).is_none());
        assert!(one(SendError::Late).is_some());
    }
}
