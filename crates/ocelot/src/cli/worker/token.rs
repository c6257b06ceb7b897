//! `ocelot worker token …`: with which new workers enrol.

mod create;
mod list;
mod revoke;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create an enrolment token and print its secret, once.
    Create(create::Options),
    /// List the enrolment tokens.
    List(list::Options),
    /// End an enrolment token; workers that have come with it stay.
    Revoke(revoke::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Create(options) => create::create(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Revoke(options) => revoke::revoke(options).await,
    }
}
