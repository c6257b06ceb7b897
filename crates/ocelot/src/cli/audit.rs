//! `ocelot audit`: who did what.

use clap::Args;
use ocelot_model::AuditAction;

use super::account::Remote;
use super::{number, show, when};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what this token did, or this build (`build 7`).
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this, such as token_created or secrets_used.
    #[arg(long)]
    action: Option<AuditAction>,
    /// Only what was done to this: a name, a handle, `build 7`.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Only from this time on: 2026-01-31, 2026-01-31T12:00:00Z, or 7d, 12h, 4w for so long ago.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<jiff::Timestamp>,
    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<jiff::Timestamp>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = number::rows)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn audit(options: Options) -> anyhow::Result<u8> {
    let text = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
    let (since, until, limit) = (text(options.since), text(options.until), options.limit.to_string());
    let filter = [
        ("actor", options.actor.as_deref()),
        ("action", options.action.map(AuditAction::as_str)),
        ("subject", options.subject.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let rows = options.remote.client()?.audit(&filter).await?.items;
    if options.json {
        show::json(&rows)?;
        return Ok(0);
    }
    let rows = rows
        .into_iter()
        .map(|row| [show::time(row.at), row.actor, row.action.to_string(), row.subject, row.detail]);
    show::table(["TIME", "WHO", "WHAT", "TO WHAT", "DETAIL"], rows, "Nothing was done.")?;
    Ok(0)
}
