//! SIGTERM and SIGINT: the first one drains, the second one cancels, the third one ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals have asked for so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Take nothing new, finish what is there.
    pub(crate) drain: CancellationToken,
    /// End what is there.
    pub(crate) cancel: CancellationToken,
}

/// Listens from now on.
pub(crate) fn listen(works: bool) -> std::io::Result<Ending> {
    let ending = Ending::default();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = ending.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
        };
        next().await;
        if works {
            tracing::info!("stopping when the running jobs are done; a second signal cancels them");
        } else {
            tracing::info!("stopping");
        }
        told.drain.cancel();
        next().await;
        tracing::warn!("cancelling the running jobs; a third signal ends at once");
        told.cancel.cancel();
        next().await;
        std::process::exit(i32::from(crate::exit::INTERRUPTED));
    });
    Ok(ending)
}
