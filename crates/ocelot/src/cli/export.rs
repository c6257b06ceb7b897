//! `ocelot export`: all history as rows.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use ocelot_api::client::ExportQuery;
use tokio::io::AsyncWriteExt as _;

use super::account::Remote;
use super::{when, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Handle or name of a repository [default: all].
    repo: Option<String>,
    /// ndjson (an object a line) or csv.
    #[arg(long, default_value = "ndjson", value_parser = ["ndjson", "csv"])]
    format: String,
    /// What a row is: builds, jobs (every attempt) or stages (of every attempt).
    #[arg(long, default_value = "builds", value_parser = ["builds", "jobs", "stages"])]
    what: String,
    /// Only builds that ended then or later: 2026-01-31, 2026-01-31T12:00:00Z, or 7d, 12h, 4w for so long ago.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Only builds that ended before then.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<Timestamp>,
    /// Write into this file [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn export(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let repo = match &options.repo {
        Some(word) => Some(which::repo(&client, word).await?),
        None => None,
    };
    let query = ExportQuery {
        format: Some(options.format),
        what: Some(options.what),
        repo: repo.clone(),
        since: options.since,
        until: options.until,
    };
    let mut rows = Box::pin(which::named(repo.as_deref().unwrap_or("export"), client.export(&query).await)?);
    match &options.output {
        Some(path) => {
            let words = || format!("cannot write {}", path.display());
            let mut file = tokio::fs::File::create(path).await.with_context(words)?;
            while let Some(piece) = rows.next().await {
                file.write_all(&piece?).await.with_context(words)?;
            }
            file.sync_all().await.with_context(words)?;
        }
        None => {
            while let Some(piece) = rows.next().await {
                std::io::stdout().lock().write_all(&piece?)?;
            }
            std::io::stdout().lock().flush()?;
        }
    }
    Ok(0)
}
