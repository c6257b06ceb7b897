//! `ocelot export`: all history as rows.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use ocelot_api::client::{ClientError, ExportQuery};
use tokio::io::AsyncWriteExt as _;

use super::account::Remote;
use super::backup::beside;
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
        Some(path) => write(path, rows).await?,
        None => {
            while let Some(piece) = rows.next().await {
                std::io::stdout().lock().write_all(&piece?)?;
            }
            std::io::stdout().lock().flush()?;
        }
    }
    Ok(0)
}

/// Under its own name the file is whole, or the earlier one. A pipe or a device has nothing that could be kept.
async fn write(
    path: &Path,
    rows: impl Stream<Item = Result<impl AsRef<[u8]>, ClientError>> + Unpin,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    // Of a link, the file that it leads to.
    let path = tokio::fs::canonicalize(path).await.unwrap_or_else(|_| path.to_owned());
    let earlier = tokio::fs::metadata(&path).await.ok();
    if earlier.as_ref().is_some_and(|earlier| !earlier.is_file()) {
        return fill(&path, rows, cannot).await;
    }
    let beside = beside(&path);
    let done = async {
        fill(&beside, rows, cannot).await?;
        if let Some(earlier) = earlier {
            tokio::fs::set_permissions(&beside, earlier.permissions()).await.with_context(cannot)?;
        }
        tokio::fs::rename(&beside, &path).await.with_context(cannot)
    };
    let done = done.await;
    if done.is_err() {
        let _ = tokio::fs::remove_file(&beside).await;
    }
    done
}

async fn fill(
    path: &Path,
    mut rows: impl Stream<Item = Result<impl AsRef<[u8]>, ClientError>> + Unpin,
    cannot: impl Fn() -> String,
) -> anyhow::Result<()> {
    let mut file = tokio::fs::File::create(path).await.with_context(&cannot)?;
    while let Some(piece) = rows.next().await {
        file.write_all(piece?.as_ref()).await.with_context(&cannot)?;
    }
    file.flush().await.with_context(&cannot)?;
    // What is no file cannot be synchronised.
    if file.metadata().await.with_context(&cannot)?.is_file() {
        file.sync_all().await.with_context(&cannot)?;
    }
    Ok(())
}
