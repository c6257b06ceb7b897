//! `ocelot worker --server URL` starts a worker; `ocelot worker list` looks at all of them.

mod list;
mod start;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::config;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    start: start::Options,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the workers.
    List(list::Options),
}

pub(crate) async fn worker(options: Options, config: Option<PathBuf>) -> anyhow::Result<u8> {
    match options.verb {
        Some(Verb::List(list)) => list::list(list, config).await,
        None => start::start(options.start, config::for_role(config.as_deref())?).await,
    }
}
