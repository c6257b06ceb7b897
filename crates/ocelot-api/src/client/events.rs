//! The events of a build, over as many connections as it takes.
//!
//! It connects again after an interruption, from the last event that it saw. It gives up only when
//! the server refuses, or stays away for [`PATIENCE`].

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::sse::{Message, Parser};
use super::{Client, ClientError, Result};
use crate::body::Event;

/// How long a server may be away before following ends with an error.
const PATIENCE: Duration = Duration::from_mins(5);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Something changed.
    Event {
        /// For `last_id`, to go on after it.
        id: Option<String>,
        /// What.
        event: Event,
    },
    /// The connection is lost; it is being made again.
    Lost {
        /// What the network said.
        cause: String,
    },
    /// The connection is there (again).
    Connected,
}

/// See [`Client::events`].
pub struct Events {
    client: Client,
    path: String,
    last_id: Option<String>,
    connection: Option<(BoxStream<'static, reqwest::Result<Bytes>>, Parser)>,
    ready: VecDeque<Message>,
    ended: bool,
    /// The server asked for this pause before a new connection.
    asked_wait: Option<Duration>,
    tries: u32,
    /// A connection was there: from now on an absent server is waited for.
    was_there: bool,
    away_since: Option<Instant>,
    told_lost: bool,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("path", &self.path)
            .field("last_id", &self.last_id)
            .finish_non_exhaustive()
    }
}

impl Events {
    pub(super) fn new(client: Client, path: String, last_id: Option<String>) -> Events {
        Events {
            client,
            path,
            last_id,
            connection: None,
            ready: VecDeque::new(),
            ended: false,
            asked_wait: None,
            tries: 0,
            was_there: false,
            away_since: None,
            told_lost: false,
        }
    }

    /// As a stream, for combinators.
    pub fn into_stream(self) -> BoxStream<'static, Result<Happened>> {
        futures_util::stream::unfold(self, async |mut events| {
            let item = events.next().await?;
            Some((item, events))
        })
        .boxed()
    }

    /// The next event; `None` after [`Event::End`] or an error. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Happened>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.last_id.clone_from(&message.id);
                match serde_json::from_str::<Event>(&message.data) {
                    Ok(event) => {
                        self.ended |= matches!(event, Event::End { .. });
                        return Some(Ok(Happened::Event { id: message.id, event }));
                    }
                    // A newer server may say more than we know.
                    Err(_) => continue,
                }
            }
            if self.ended {
                return None;
            }
            let step = if self.connection.is_none() { self.connect().await } else { self.read().await };
            match step {
                Ok(None) => {}
                Ok(Some(told)) => return Some(Ok(told)),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<Happened>> {
        if self.tries > 0 {
            tokio::time::sleep(self.pause()).await;
        }
        self.tries = self.tries.saturating_add(1);
        match self.client.listen(&self.path, self.last_id.as_deref()).await {
            Ok(answer) => {
                let parser = Parser::after(self.last_id.clone());
                self.connection = Some((answer.bytes_stream().boxed(), parser));
                self.told_lost = false;
                self.was_there = true;
                Ok(Some(Happened::Connected))
            }
            Err(error) if error.may_pass() => self.lost(error),
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self) -> Result<Option<Happened>> {
        let Some((body, parser)) = &mut self.connection else { return Ok(None) };
        let cause = match body.next().await {
            Some(Ok(bytes)) => match parser.feed(&bytes) {
                Ok(messages) => {
                    self.ready.extend(messages);
                    self.asked_wait = parser.retry_ms().map(Duration::from_millis);
                    self.tries = 0;
                    self.away_since = None;
                    return Ok(None);
                }
                Err(error) => {
                    let (url, cause) = (self.client.url().to_owned(), error.to_string());
                    return Err(ClientError::Strange { url, cause });
                }
            },
            Some(Err(error)) => self.client.broken(&error),
            None => {
                let (url, cause) = (self.client.url().to_owned(), "the connection was closed".to_owned());
                ClientError::Unreachable { url, cause }
            }
        };
        self.connection = None;
        self.tries = self.tries.max(1);
        self.lost(cause)
    }

    fn lost(&mut self, error: ClientError) -> Result<Option<Happened>> {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        // The first connection must succeed: a wrong address is said at once.
        if !self.was_there || since.elapsed() > PATIENCE {
            return Err(error);
        }
        if std::mem::replace(&mut self.told_lost, true) {
            return Ok(None);
        }
        Ok(Some(Happened::Lost { cause: error.to_string() }))
    }

    /// 100 ms, doubled each time up to 5 s, and up to half of it more so that many do not come at once.
    fn pause(&self) -> Duration {
        let grown = FIRST_WAIT.saturating_mul(1 << self.tries.saturating_sub(1).min(10)).min(LONGEST_WAIT);
        let wait = self.asked_wait.map_or(grown, |asked| asked.min(LONGEST_WAIT).max(grown));
        let spread = RandomState::new().build_hasher().finish() % 50;
        wait + wait * spread as u32 / 100
    }
}
