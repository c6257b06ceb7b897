//! `ocelot schedule …`: branches that are built at set times.

mod add;
mod list;
mod remove;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build a branch at set times.
    Add(add::Options),
    /// List the schedules, also those in files, and what came of them.
    List(list::Options),
    /// Remove a schedule that was added.
    Remove(remove::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Add(options) => add::add(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Remove(options) => remove::remove(options).await,
    }
}
