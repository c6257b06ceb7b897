//! `ocelot completions SHELL`.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The shell.
    shell: Shell,
}

pub(crate) fn completions(options: &Options) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut super::Cli::command(), "ocelot", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(0)
}
