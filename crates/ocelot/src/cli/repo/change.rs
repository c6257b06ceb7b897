//! `ocelot repo change [REPO] [--approvals WHOSE] [--public true|false]`.

use clap::{ArgGroup, Args};
use ocelot_api::body::RepoChange;
use ocelot_model::Approvals;

use crate::cli::account::Remote;
use crate::cli::checkout::Checkout;
use crate::cli::{show, which};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("setting").required(true).multiple(true).args(["approvals", "public"]))]
pub(crate) struct Options {
    /// Handle or name [default: that of the git checkout here].
    repo: Option<String>,
    /// Whose builds wait for `ocelot approve`, of those made from now on: forks, all (every pull request, too) or none.
    #[arg(long, value_name = "WHOSE")]
    approvals: Option<Approvals>,
    /// Whether anyone may read it and its builds, without a token.
    #[arg(long, value_name = "true|false")]
    public: Option<bool>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn change(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let handle = match &options.repo {
        Some(word) => which::repo(&client, word).await?,
        None => which::repo_here(&client, &Checkout::here()).await?,
    };
    let change = RepoChange { approvals: options.approvals, public: options.public };
    let repo = which::named(&handle, client.change_repo(&handle, &change).await)?;
    if options.json {
        show::json(&repo)?;
    } else {
        super::print(&repo)?;
    }
    Ok(0)
}
