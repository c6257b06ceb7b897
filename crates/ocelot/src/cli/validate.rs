//! `ocelot validate [FILE]`: all problems of an `ocelot.yml`, without a server.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ocelot_model::pipeline;

use super::show;
use crate::exit;

/// More than any file may have; the parser refuses it in its own words.
const READ_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file, `-` for standard input [default: ocelot.yml].
    file: Option<PathBuf>,
    /// Print the JSON Schema of ocelot.yml instead, for editors.
    #[arg(long, conflicts_with = "file")]
    schema: bool,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn validate(options: &Options) -> anyhow::Result<u8> {
    if options.schema {
        show::json(&pipeline::json_schema())?;
        return Ok(exit::PASSED);
    }
    let file = options.file.as_deref().unwrap_or(Path::new("ocelot.yml"));
    let (name, bytes) = read(file)?;
    let problems = pipeline::parse(&bytes).err().map_or_else(Vec::new, |problems| problems.0);
    if options.json {
        show::json(&problems)?;
    } else if problems.is_empty() {
        show::line(format_args!("{} is good.", show::plain(&name)))?;
    } else {
        // Colours are taken out again where stdout is no terminal.
        show::line(pipeline::render(&name, &String::from_utf8_lossy(&bytes), &problems, true).trim_end())?;
    }
    Ok(if problems.is_empty() { exit::PASSED } else { exit::FAILED })
}

fn read(file: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(READ_MAX)
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(("ocelot.yml".to_owned(), bytes));
    }
    let name = file.display().to_string();
    let open = std::fs::File::open(file)
        .with_context(|| format!("cannot read {name}; `ocelot init` writes a first ocelot.yml"))?;
    open.take(READ_MAX).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    Ok((name, bytes))
}
