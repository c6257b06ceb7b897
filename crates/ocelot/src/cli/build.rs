//! `ocelot build`.

use clap::Args;
use ocelot_api::body::NewBuild;
use ocelot_api::client::Client;
use std::collections::BTreeMap;

use super::account::Remote;
use super::checkout::Checkout;
use super::{show, which};
use crate::exit;
use crate::follow::{self, Look};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of the repository [default: that of the git checkout here, with its branch and commit].
    repo: Option<String>,
    /// Branch [default: the repository's default branch].
    #[arg(long)]
    branch: Option<String>,
    /// Commit [default: the newest of the branch].
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// A parameter of the build; may be given several times.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Build even when the rules of the file would skip it.
    #[arg(long)]
    force: bool,
    /// Stream the log; the exit code says how the build ended.
    #[arg(long, short)]
    follow: bool,
    /// Print the build as JSON; with --follow the finished one, without its log.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

pub(crate) async fn build(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let (follow, json) = (options.follow, options.json);
    let wanted = wanted(&client, options).await?;
    let build = which::named(&wanted.repo, client.start(&wanted).await)?;
    if follow {
        let look = Look { json, ..Look::default() };
        return follow::follow(&client, build.number, look).await;
    }
    if json {
        show::json(&build)?;
    } else {
        let status = show::status(build.status);
        show::line(format_args!("Build {} of {}: {status}", build.number, show::plain(&build.repo)))?;
        if let Some(reason) = show::reason(&build) {
            show::line(reason)?;
        }
        show::line(client.page(build.number))?;
    }
    Ok(exit::of_status(build.status))
}

async fn wanted(client: &Client, options: Options) -> anyhow::Result<NewBuild> {
    let params: BTreeMap<String, String> = options.params.into_iter().collect();
    let (mut branch, mut commit, force) = (options.branch, options.commit, options.force);
    let repo = if let Some(word) = &options.repo {
        which::repo(client, word).await?
    } else {
        let here = Checkout::here();
        let repo = which::repo_here(client, &here).await?;
        // Branch and commit of the checkout belong together: one that was named drops both.
        if branch.is_none() && commit.is_none() {
            (branch, commit) = (here.branch, here.commit);
        }
        repo
    };
    Ok(NewBuild { repo, branch, commit, params, force })
}
