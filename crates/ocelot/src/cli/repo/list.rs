//! `ocelot repo list`.

use clap::Args;

use crate::cli::account::Remote;
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn list(options: Options) -> anyhow::Result<u8> {
    let repos = options.remote.client()?.repos().await?;
    if options.json {
        show::json(&repos)?;
        return Ok(0);
    }
    let rows = repos.into_iter().map(|r| [r.repo, r.default_branch, r.clone_url]);
    show::table(
        ["REPO", "DEFAULT BRANCH", "CLONE URL"],
        rows,
        "No repository yet; `ocelot repo add URL` adds one.",
    )?;
    Ok(0)
}
