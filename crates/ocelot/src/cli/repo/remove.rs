//! `ocelot repo remove REPO`: asks before it deletes, for nothing brings the builds back.

use std::io::IsTerminal as _;

use anyhow::bail;
use clap::Args;
use ocelot_api::client::{BuildQuery, Client};

use crate::cli::account::Remote;
use crate::cli::{ask, show, which};
use crate::exit::usage;

/// More builds than this are not counted.
const COUNTED: u32 = 500;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name.
    repo: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn remove(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = which::repo(&client, &options.repo).await?;
    if !options.yes {
        let what = what_goes(&client, &handle).await?;
        if !std::io::stdin().is_terminal() {
            return Err(usage(format!("{what}. There is no terminal to ask on: give --yes to remove it")));
        }
        let name = show::plain(&handle);
        let question = format!("{what}. Nothing brings them back.\nType {name} to go on: ");
        if ask::line(&question).await? != handle {
            bail!("that is not `{name}`: nothing was removed");
        }
    }
    let rest = which::named(&handle, client.remove_repo(&handle).await)?;
    show::line(format_args!("Removed {}.", show::plain(&handle)))?;
    if let Some(rest) = rest {
        show::note(show::plain(&rest.note));
    }
    Ok(0)
}

async fn what_goes(client: &Client, handle: &str) -> anyhow::Result<String> {
    let repo = which::named(handle, client.repo(handle).await)?;
    let query = BuildQuery { repo: Some(repo.repo), limit: Some(COUNTED), ..BuildQuery::default() };
    let page = client.builds(&query).await?;
    let builds = match (page.items.len(), page.items.first()) {
        (_, Some(newest)) if page.next.is_some() => {
            format!("its more than {COUNTED} builds (the newest is {}) and their logs", newest.number)
        }
        (1, Some(only)) => format!("its build {} and the log of it", only.number),
        (count, Some(newest)) => {
            format!("its {count} builds (the newest is {}) and their logs", newest.number)
        }
        (_, None) => "no build yet".to_owned(),
    };
    let (name, url) = (show::plain(handle), show::plain(&repo.clone_url));
    Ok(format!("This removes {name} ({url}) with {builds}; the repository itself stays where it is"))
}
