//! `ocelot secret list`, `ocelot creds KIND list`.

use clap::Args;
use ocelot_api::body::Secret;
use ocelot_model::access::Role;
use ocelot_model::secret::Kind;

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

pub(crate) async fn list(kind: Kind, options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let mut secrets = client.credentials().await?;
    secrets.retain(|secret| secret.kind == kind);
    if options.json {
        show::json(&secrets)?;
        return Ok(0);
    }
    let rows = secrets.into_iter().map(|secret| {
        let scope = if secret.scope.is_empty() { "all".to_owned() } else { secret.scope.clone() };
        let changed = format!("{} by {}", show::time(secret.changed_at), secret.changed_by);
        [secret.name.clone(), scope, narrowed(&secret), changed]
    });
    let none = match client.whoami().await {
        Ok(me) if me.role == Role::Admin && me.repos.is_empty() => {
            format!("None yet; {} keeps one.", add(kind, ""))
        }
        // There may be others.
        Ok(me) if me.role == Role::Admin => {
            format!("None that this token may see; {} keeps one.", add(kind, " --scope REPO"))
        }
        _ => "None that this token may see: it takes role admin for what they are for.".to_owned(),
    };
    show::table(["NAME", "SCOPE", "ONLY FOR", "CHANGED"], rows, &none)?;
    Ok(0)
}

/// The command that keeps one.
fn add(kind: Kind, scope: &str) -> String {
    if kind == Kind::Env {
        return format!("`ocelot secret add NAME{scope}`");
    }
    format!("`ocelot creds {kind} add NAME{scope}`")
}

/// Its fields and limits, in a few words.
fn narrowed(secret: &Secret) -> String {
    let fields = secret.fields.iter().map(|(name, value)| format!("{name}={value}"));
    let events: Vec<&str> = secret.events.iter().map(|event| event.as_str()).collect();
    let limits = [
        ("events", events.join(", ")),
        ("branches", secret.branches.join(", ")),
        ("stages", secret.stages.join(", ")),
    ];
    let limits = limits.into_iter().filter(|(_, list)| !list.is_empty());
    fields.chain(limits.map(|(what, list)| format!("{what} {list}"))).collect::<Vec<_>>().join("; ")
}
