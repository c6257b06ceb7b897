//! `ocelot worker --server URL` starts a worker; `ocelot worker list` looks at all of them.

mod list;
mod start;

use clap::{Args, Subcommand};

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

pub(crate) async fn worker(options: Options) -> anyhow::Result<u8> {
    match options.verb {
        Some(Verb::List(list)) => list::list(list).await,
        None => start::start(options.start).await,
    }
}
