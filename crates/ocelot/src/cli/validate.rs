//! `ocelot validate [FILE…]`: all problems of every `ocelot.yml`, or what a build would run, without a server.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ocelot_model::pipeline::{self, Problem};
use serde_json::{Value, json};

use super::checkout::Checkout;
use super::{explain, show};
use crate::exit;

/// More than any file may have; the parser refuses it in its own words.
const READ_MAX: u64 = 1 << 20;
const NAME: &str = "ocelot.yml";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Files, or folders with an ocelot.yml; `-` for standard input [default: ocelot.yml here, else at the top of the
    /// git checkout].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the JSON Schema of ocelot.yml instead, for editors.
    #[arg(long, conflicts_with = "files")]
    schema: bool,
    /// Print the problems as JSON: one list, each with its file. With --explain, the stages of good files.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    explain: explain::Asked,
}

pub(crate) fn validate(options: &Options) -> anyhow::Result<u8> {
    if options.schema {
        show::json(&pipeline::json_schema())?;
        return Ok(exit::PASSED);
    }
    let files = if options.files.is_empty() { vec![usual()] } else { options.files.clone() };
    // A file that cannot be read is said before any answer is half given.
    let files: Vec<(String, Vec<u8>)> = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let mut all: Vec<Value> = Vec::new();
    let facts = options.explain.facts();
    let mut stages = Vec::new();
    for (name, bytes) in &files {
        let problems = match (pipeline::parse(bytes), &facts) {
            (Ok(pipeline), Some(facts)) => {
                stages.extend(explain::of(name, &pipeline, facts));
                continue;
            }
            (Ok(_), None) => Vec::new(),
            (Err(problems), _) => problems.0,
        };
        if !options.json {
            print(name, bytes, &problems)?;
        }
        all.extend(problems.iter().map(|problem| of_file(name, problem)));
    }
    match &facts {
        Some(facts) if all.is_empty() => explain::print(&stages, facts, options.json)?,
        _ if options.json => show::json(&all)?,
        _ => {}
    }
    Ok(if all.is_empty() { exit::PASSED } else { exit::FAILED })
}

fn print(name: &str, bytes: &[u8], problems: &[Problem]) -> std::io::Result<()> {
    let name = show::plain(name);
    if problems.is_empty() {
        return show::line(format_args!("{name} is good."));
    }
    // Colours are taken out again where stdout is no terminal.
    let drawn = pipeline::render(&name, &String::from_utf8_lossy(bytes), problems, true);
    show::line(format_args!("{}\n", drawn.trim_end()))
}

fn of_file(name: &str, problem: &Problem) -> Value {
    let mut value = json!(problem);
    value["file"] = name.into();
    value
}

fn usual() -> PathBuf {
    let here = PathBuf::from(NAME);
    let at_top = || Checkout::here().top.map(|top| top.join(NAME)).filter(|path| path.exists());
    if here.exists() { here } else { at_top().unwrap_or(here) }
}

fn read(file: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin.take(READ_MAX).read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(("<stdin>".to_owned(), bytes));
    }
    let file = if file.is_dir() { file.join(NAME) } else { file.to_owned() };
    let name = file.display().to_string();
    let open = std::fs::File::open(&file).with_context(|| {
        let hint = if file.exists() { "" } else { "; `ocelot init` writes a first ocelot.yml" };
        format!("cannot read {name}{hint}")
    })?;
    open.take(READ_MAX).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    Ok((name, bytes))
}
