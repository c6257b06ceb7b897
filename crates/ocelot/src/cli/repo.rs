//! `ocelot repo …`.

mod add;
mod list;
mod remove;
mod show;

use clap::Subcommand;
use ocelot_api::body::Repo;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a repository.
    Add(add::Options),
    /// List the repositories.
    List(list::Options),
    /// Show one repository.
    Show(show::Options),
    /// Forget a repository with its builds and logs.
    Remove(remove::Options),
}

pub(crate) async fn dispatch(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Add(options) => add::add(options).await,
        Verb::List(options) => list::list(options).await,
        Verb::Show(options) => show::show(options).await,
        Verb::Remove(options) => remove::remove(options).await,
    }
}

fn print(repo: &Repo) -> std::io::Result<()> {
    use super::show::{line, plain};
    line(format_args!("repo: {}", plain(&repo.repo)))?;
    line(format_args!("clone url: {}", plain(&repo.clone_url)))?;
    line(format_args!("default branch: {}", plain(&repo.default_branch)))?;
    line(format_args!("readable by anyone: {}", if repo.public { "yes" } else { "no" }))
}
