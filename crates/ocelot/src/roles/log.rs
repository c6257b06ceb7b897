//! The process's own log, on stderr: lines for people, or JSON for machines.

use std::io::IsTerminal as _;

use clap::Args;
use tracing_subscriber::EnvFilter;

const DEFAULT: &str = "info,sqlx=warn,hyper=warn,h2=warn,tower=warn";

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub(crate) struct LogOptions {
    /// What is written to the log, for example `debug` or `info,ocelot_server=debug` [default: info].
    #[arg(long, value_name = "FILTER", env = "OCELOT_LOG", value_parser = filter)]
    log: Option<String>,
    /// Write the log as JSON.
    #[arg(long, env = "OCELOT_LOG_JSON")]
    log_json: bool,
}

impl LogOptions {
    /// Begins to log.
    pub(crate) fn begin(&self) {
        let filter = EnvFilter::new(self.log.as_deref().unwrap_or(DEFAULT));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        if self.log_json {
            log.json().flatten_event(true).init();
        } else {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colours).with_target(false).init();
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
