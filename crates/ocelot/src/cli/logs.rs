//! `ocelot logs BUILD [STAGE]`.

use clap::Args;

use super::account::Remote;
use super::which;
use crate::follow::{self, Look, stored};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build, a commit, or a repository for its newest build.
    build: String,
    /// Only this stage: its name, `job/stage`, or its id.
    stage: Option<String>,
    /// Go on until the build is over; the exit code says how it ended.
    #[arg(long, short)]
    follow: bool,
    /// The bytes as they are, with all that a terminal would obey and without headings.
    #[arg(long)]
    raw: bool,
    /// Begin each line with its time.
    #[arg(long, conflicts_with = "follow")]
    timestamps: bool,
    /// Only the last N lines.
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    tail: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn logs(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let build = which::build(&client, Some(&options.build)).await?;
    let Options { stage, raw, timestamps, tail, .. } = options;
    if options.follow {
        let look = Look { only: stage, raw, json: false };
        return follow::follow(&client, build.number, look).await;
    }
    stored::print(&client, &build, stored::Wish { only: stage, raw, timestamps, tail }).await?;
    Ok(0)
}
