//! `ocelot init`: a first `ocelot.yml` that fits what lies in the folder.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use ocelot_model::pipeline::starter;

use super::checkout::Checkout;
use super::show;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write over an ocelot.yml that is there.
    #[arg(long)]
    force: bool,
}

pub(crate) fn init(options: &Options) -> anyhow::Result<u8> {
    let top = Checkout::here().top.map_or_else(std::env::current_dir, Ok)?;
    let path = top.join("ocelot.yml");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&top).with_context(|| format!("cannot read {}", top.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = starter(&names);
    let mut open = OpenOptions::new();
    if options.force {
        open.create(true).truncate(true)
    } else {
        open.create_new(true)
    };
    match open.write(true).open(&path) {
        Ok(mut file) => file.write_all(text.as_bytes())?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; --force writes over it", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
    show::line(format_args!("Wrote {}. `ocelot validate` checks it after a change.", path.display()))?;
    Ok(0)
}
