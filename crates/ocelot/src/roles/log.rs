//! The process's own log, on stderr: lines for people, or JSON for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

const DEFAULT: &str = "info,sqlx=warn,hyper=warn,h2=warn,tower=warn";

/// Begins to log. `OCELOT_LOG` says what, for example `debug` or `ocelot_server=debug`.
pub(crate) fn begin(json: bool) -> anyhow::Result<()> {
    let filter = match std::env::var("OCELOT_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| crate::exit::usage(format!("OCELOT_LOG `{text}` makes no sense: {error}")))?,
        _ => EnvFilter::new(DEFAULT),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().flatten_event(true).init();
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        log.with_ansi(colours).with_target(false).init();
    }
    Ok(())
}
