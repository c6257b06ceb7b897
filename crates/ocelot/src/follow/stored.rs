//! Prints logs as they are stored, without waiting for more.

use anyhow::bail;
use futures_util::StreamExt as _;
use ocelot_api::body::{Build, Stage};
use ocelot_api::client::{Client, LogQuery};
use owo_colors::OwoColorize as _;

use super::clean::Clean;
use super::printer::put;
use crate::cli::show;

/// What to print.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Only this stage: name, `job/stage` or id.
    pub(crate) only: Option<String>,
    /// Bytes as they are, without headings.
    pub(crate) raw: bool,
    /// Begin each line with its time.
    pub(crate) timestamps: bool,
    /// Only the last so many lines.
    pub(crate) tail: Option<u32>,
}

/// Prints the logs of a build, or of one stage of it.
pub(crate) async fn print(client: &Client, build: &Build, wish: Wish) -> anyhow::Result<()> {
    let stages = wanted(build, wish.only.as_deref());
    if let Some(only) = wish.only.as_ref().filter(|_| stages.is_empty()) {
        bail!("build {0} has no stage `{only}`; `ocelot status {0}` shows its stages", build.number);
    }
    let headings = stages.len() > 1 && !wish.raw;
    let parts = lines_of_each(client, build, &stages, &wish).await?;
    for ((label, stage), tail) in stages.iter().zip(parts) {
        if stage.log_bytes == 0 || tail == Some(0) {
            continue;
        }
        if headings {
            show::line(format!("── {}", show::plain(label)).bold())?;
        }
        let query = LogQuery { tail, timestamps: wish.timestamps, ..LogQuery::default() };
        one(client, build.number, stage.id, query, wish.raw).await?;
    }
    if let Some(reason) = show::reason(build).filter(|_| wish.only.is_none() && !wish.raw) {
        show::line(reason)?;
    }
    Ok(())
}

/// The stages that `only` names, with what they are called.
pub(crate) fn wanted<'b>(build: &'b Build, only: Option<&str>) -> Vec<(String, &'b Stage)> {
    let jobs = build.jobs.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for job in jobs {
        for stage in &job.stages {
            let full = format!("{}/{}", job.name, stage.name);
            if only.is_none_or(|only| only == stage.name || only == full || only == stage.id.to_string()) {
                found.push((if jobs.len() > 1 { full } else { stage.name.clone() }, stage));
            }
        }
    }
    found
}

/// How many lines of each stage belong to the last lines of all.
async fn lines_of_each(
    client: &Client,
    build: &Build,
    stages: &[(String, &Stage)],
    wish: &Wish,
) -> anyhow::Result<Vec<Option<u32>>> {
    let Some(mut left) = wish.tail else { return Ok(vec![None; stages.len()]) };
    let mut parts = vec![Some(0); stages.len()];
    for (at, (_, stage)) in stages.iter().enumerate().rev() {
        if left == 0 {
            break;
        }
        parts[at] = Some(left);
        // Only what comes before needs the count.
        if at > 0 && stage.log_bytes > 0 {
            let query = LogQuery { tail: Some(left), ..LogQuery::default() };
            let mut pieces = std::pin::pin!(client.stage_log(build.number, stage.id, query).await?);
            let mut lines = 0;
            while let Some(piece) = pieces.next().await {
                lines += piece?.split(|byte| *byte == b'\n').count() - 1;
            }
            left = left.saturating_sub(lines as u32);
        }
    }
    Ok(parts)
}

async fn one(client: &Client, build: i64, stage: i64, query: LogQuery, raw: bool) -> anyhow::Result<()> {
    let colours = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let mut clean = Clean::new(colours);
    let mut ended = true;
    let mut pieces = std::pin::pin!(client.stage_log(build, stage, query).await?);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        ended = piece.ends_with(b"\n") || (piece.is_empty() && ended);
        if raw {
            put(&piece)?;
        } else {
            put(clean.pass(&piece).as_bytes())?;
        }
    }
    if !ended && !raw {
        put(b"\n")?;
    }
    Ok(())
}
