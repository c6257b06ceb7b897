//! `ocelot notify …`.

mod list;
mod test;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Send a test to all that are told of a repository's builds, or with one credential.
    Test(test::Options),
    /// List the notifications that could not be sent so far, and why.
    List(list::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Test(options) => test::test(options).await,
        Verb::List(options) => list::list(options).await,
    }
}
