//! `ocelot pause` and `ocelot unpause`: the switch that keeps waiting jobs waiting.

use clap::Args;
use ocelot_api::body::{NewPause, PauseState};

use super::account::Remote;
use super::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Why, for those who wait.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn pause(options: Options) -> anyhow::Result<u8> {
    let state = options.remote.client()?.pause(&NewPause { reason: options.reason }).await?;
    if let Some(words) = words(&state) {
        show::line(format_args!("{words}. Running jobs go on; `ocelot unpause` hands out jobs again."))?;
    }
    Ok(0)
}

pub(crate) async fn unpause(options: Undo) -> anyhow::Result<u8> {
    options.remote.client()?.unpause().await?;
    show::line("Jobs are handed out again.")?;
    Ok(0)
}

/// `Paused by ann: upgrade`; `None` when nothing is paused.
pub(crate) fn words(state: &PauseState) -> Option<String> {
    let by = state.by.as_deref().filter(|_| state.paused)?;
    let reason = state.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
    Some(show::plain(&format!("Paused by {by}{reason}")))
}
