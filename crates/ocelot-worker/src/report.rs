//! Tells the server how the stages of one attempt stand, in order, until it has heard it. It decides nothing.

use std::time::Duration;

use ocelot_api::proto::{AttemptResult, StageReport};
use ocelot_model::causes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

use crate::backoff::Backoff;
use crate::connect::Client;
use crate::ship::Stale;

/// A call that is not answered in this time is made again.
const PATIENCE: Duration = Duration::from_secs(20);

/// The reports of one attempt. Dropped, it sends nothing more.
#[derive(Debug)]
pub(crate) struct Reporter {
    items: mpsc::UnboundedSender<Item>,
    _sending: AbortOnDropHandle<()>,
}

#[derive(Debug)]
enum Item {
    Stage(StageReport),
    Finish(AttemptResult, oneshot::Sender<Result<(), Stale>>),
}

impl Reporter {
    /// Begins.
    pub(crate) fn start(client: Client) -> Reporter {
        let (items, inbox) = mpsc::unbounded_channel();
        let sending = tokio::spawn(send_all(client, inbox));
        Reporter { items, _sending: AbortOnDropHandle::new(sending) }
    }

    /// Queues a report and returns at once. A newer one of the same stage replaces one that has not left yet.
    pub(crate) fn stage(&self, report: StageReport) {
        // The other end is there as long as `self`, unless the attempt is stale: then nobody wants it.
        let _ = self.items.send(Item::Stage(report));
    }

    /// Sends the end of the attempt, and returns when the server has it. It says all that reports still in
    /// the queue would say, so they are left out.
    pub(crate) async fn finish(&self, result: AttemptResult) -> Result<(), Stale> {
        let (answer, answered) = oneshot::channel();
        self.items.send(Item::Finish(result, answer)).map_err(|_| Stale)?;
        answered.await.unwrap_or(Err(Stale))
    }
}

/// Tells how a stage stands, and returns when the server has heard it: then the lease is good.
pub(crate) async fn confirm(mut client: Client, report: StageReport) -> Result<(), Stale> {
    let confirmed = deliver("an attempt goes on", &mut client, |client| {
        let report = report.clone();
        Box::pin(async move { client.report_stage(report).await.map(drop) })
    });
    confirmed.await
}

async fn send_all(mut client: Client, mut inbox: mpsc::UnboundedReceiver<Item>) {
    let mut queue = Vec::new();
    loop {
        if queue.is_empty() && inbox.recv_many(&mut queue, 1000).await == 0 {
            return;
        }
        while let Ok(item) = inbox.try_recv() {
            queue.push(item);
        }
        queue = shorten(queue);
        match queue.remove(0) {
            Item::Stage(report) => {
                let what = format!("stage {} is {}", report.stage_id, report.status);
                let sent = deliver(&what, &mut client, |client| {
                    let report = report.clone();
                    Box::pin(async move { client.report_stage(report).await.map(drop) })
                });
                if sent.await == Err(Stale) {
                    return;
                }
            }
            Item::Finish(result, answer) => {
                let what = format!("the attempt is {}", result.status);
                let sent = deliver(&what, &mut client, |client| {
                    let result = result.clone();
                    Box::pin(async move { client.finish_attempt(result).await.map(drop) })
                });
                let _ = answer.send(sent.await);
                return;
            }
        }
    }
}

/// The newest report of each stage, in the order in which the stages first came; a finish stands alone.
fn shorten(items: Vec<Item>) -> Vec<Item> {
    let mut short: Vec<Item> = Vec::new();
    for item in items {
        let Item::Stage(report) = item else { return vec![item] };
        let same =
            |known: &&mut Item| matches!(known, Item::Stage(known) if known.stage_id == report.stage_id);
        match short.iter_mut().find(same) {
            Some(known) => *known = Item::Stage(report),
            None => short.push(Item::Stage(report)),
        }
    }
    short
}

type Call<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), tonic::Status>> + Send + 'a>>;

/// Calls until the server has answered. An answer that no repetition would change counts as heard.
async fn deliver(
    what: &str,
    client: &mut Client,
    call: impl for<'a> Fn(&'a mut Client) -> Call<'a>,
) -> Result<(), Stale> {
    let mut backoff = Backoff::new();
    loop {
        let late = || Err(tonic::Status::deadline_exceeded("no answer"));
        let Err(status) = tokio::time::timeout(PATIENCE, call(client)).await.unwrap_or_else(|_| late())
        else {
            return Ok(());
        };
        let code = status.code();
        // The lease is over, or we are nobody (any more): then the session hears it too, and says so.
        if matches!(code, Code::FailedPrecondition | Code::Unauthenticated | Code::PermissionDenied) {
            tracing::debug!("the server does not take it that {what}: {}", status.message());
            return Err(Stale);
        }
        if matches!(code, Code::InvalidArgument | Code::NotFound | Code::Unimplemented) {
            tracing::error!("the server does not accept that {what}: {}", status.message());
            return Ok(());
        }
        tracing::debug!("the server did not hear that {what}: {code}: {}", causes::deepest(&status));
        backoff.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(stage_id: i64, status: &str) -> Item {
        Item::Stage(StageReport { stage_id, status: status.into(), ..StageReport::default() })
    }

    fn check(items: Vec<Item>, want: &[&str]) {
        let short: Vec<_> = shorten(items)
            .iter()
            .map(|item| match item {
                Item::Stage(report) => format!("{} {}", report.stage_id, report.status),
                Item::Finish(..) => "finish".to_owned(),
            })
            .collect();
        assert_eq!(short, want);
    }

    #[test]
    fn only_the_newest_of_each_stage_is_sent() {
        check(vec![stage(1, "running")], &["1 running"]);
        check(vec![stage(1, "running"), stage(2, "running"), stage(1, "passed")], &["1 passed", "2 running"]);
    }

    #[test]
    fn a_finish_says_it_all() {
        let finish = Item::Finish(AttemptResult::default(), oneshot::channel().0);
        check(vec![stage(1, "running"), finish], &["finish"]);
    }
}
