//! `ocelot token list`.

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
    let tokens = options.remote.client()?.tokens().await?;
    if options.json {
        show::json(&tokens)?;
        return Ok(0);
    }
    let never = || "never".to_owned();
    let rows = tokens.into_iter().map(|token| {
        let repos = if token.repos.is_empty() { "all".to_owned() } else { token.repos.join(", ") };
        let ends = token.expires_at.map_or_else(never, show::time);
        let used = token.last_used_at.map_or_else(never, show::time);
        [token.id.to_string(), token.name, token.role.to_string(), repos, used, ends]
    });
    show::table(["ID", "NAME", "ROLE", "REPOS", "LAST USED", "ENDS"], rows, "No tokens.")?;
    Ok(0)
}
