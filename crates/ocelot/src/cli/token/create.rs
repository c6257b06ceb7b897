//! `ocelot token create NAME`.

use clap::Args;
use ocelot_api::body::NewToken;
use ocelot_model::access::{Role, limit_words};

use crate::cli::account::Remote;
use crate::cli::{number, show};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A name that says who uses it.
    name: String,
    /// What it may do: admin, write, read, worker or metrics.
    #[arg(long, default_value = "read")]
    role: Role,
    /// Limit it to this repository, or to all that begin so when it ends in `/`; may be given several times.
    #[arg(long = "repo", value_name = "REPO")]
    repos: Vec<String>,
    /// Days until it ends [default: never].
    #[arg(long, value_name = "DAYS", value_parser = number::count)]
    expires_days: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn create(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let Options { name, role, repos, expires_days, .. } = options;
    let created = client.create_token(&NewToken { name, role, repos, expires_days }).await?;
    if options.json {
        show::json(&created)?;
        return Ok(0);
    }
    // The secret alone on stdout, so that scripts can take it.
    show::line(&created.secret)?;
    show::note(format_args!(
        "This is the only time that the secret of {} (role {}{}) is shown.",
        show::plain(&created.token.name),
        created.token.role,
        show::plain(&limit_words(&created.token.repos))
    ));
    Ok(0)
}
