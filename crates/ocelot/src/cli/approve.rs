//! `ocelot approve BUILD`.

use clap::Args;

use super::account::Remote;
use super::{show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    build: i64,
    /// Print the build as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn approve(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = which::named(format_args!("build {}", options.build), client.approve(options.build).await)?;
    if options.json {
        show::json(&build)?;
    } else {
        let by = build.approved_by.as_deref().map(show::plain).unwrap_or_default();
        let commit = show::plain(&build.commit);
        show::line(format_args!("Build {} of {commit} is approved by {by}.", build.number))?;
    }
    Ok(0)
}
