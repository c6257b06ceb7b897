//! `ocelot worker token list`.

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
    let tokens = options.remote.client()?.worker_tokens().await?;
    if options.json {
        show::json(&tokens)?;
        return Ok(0);
    }
    let rows = tokens.into_iter().map(|token| {
        let uses = token.uses.map_or_else(|| "any".to_owned(), |uses| uses.to_string());
        let ends = token.expires_at.map_or_else(|| "never".to_owned(), show::time);
        let used = format!("{} of {uses}", token.used);
        [token.id.to_string(), used, super::super::pairs(&token.labels), token.created_by, ends]
    });
    let none = "No enrolment token; `ocelot worker token create` makes one.";
    show::table(["ID", "USED", "LABELS", "MADE BY", "ENDS"], rows, none)?;
    Ok(0)
}
