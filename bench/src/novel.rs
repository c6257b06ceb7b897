//! New lines of failed logs: whether the line that says what is wrong is among the first five, and how long a large log takes.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use ocelot_model::novel::{Search, Shapes};
use regex::Regex;
use serde_json::json;

use crate::report::{Figure, median, ms, write};

/// Lines of the large log, and of each of the passed runs that it is compared with.
const LINES: usize = 100_000;
const RUNS: usize = 20;
const TIMES: usize = 5;
/// What people see at first.
const FIRST: usize = 5;
/// Stands in the middle of the large log, and in none before it.
const PLANTED: &str = "error: the answer was 41";

/// See the module.
pub(crate) fn measure() -> Result<bool> {
    let (tuned, withheld) = share()?;
    let mut times = Vec::new();
    let mut place = None;
    let passed: Vec<String> = (0..RUNS).map(|run| large(run, None)).collect();
    for run in 0..TIMES {
        let log = large(RUNS + run, Some(PLANTED));
        let mut known = HashSet::new();
        for log in &passed {
            let mut shapes = Shapes::default();
            shapes.feed(log.as_bytes());
            known.extend(shapes.finish());
        }
        let begin = Instant::now();
        let mut search = Search::new(known);
        search.feed(log.as_bytes());
        let found = search.finish(FIRST);
        times.push(ms(begin.elapsed()));
        let planted = |offset: u64| log[offset as usize..].starts_with(PLANTED);
        let line = found.lines.iter().position(|line| planted(line.offset));
        place = Some(line.context("the planted error is not among the first five")?);
    }
    let figures = [
        Figure {
            name: "withheld_in_first_five",
            value: withheld,
            target: 1.0,
            more_is_better: true,
            unit: "ratio",
        },
        Figure {
            name: "tuned_in_first_five",
            value: tuned,
            target: 1.0,
            more_is_better: true,
            unit: "ratio",
        },
        Figure {
            name: "large_log",
            value: median(&times),
            target: 1000.0,
            more_is_better: false,
            unit: "ms",
        },
    ];
    write("novel", &figures, &json!({"large_ms": times, "place": place, "lines": LINES}))
}

/// A log as a build writes it: many lines of few shapes, with other numbers each time, and some that a run has alone.
fn large(run: usize, error: Option<&str>) -> String {
    let mut log = String::new();
    for i in 0..LINES {
        if i == LINES / 2
            && let Some(error) = error
        {
            log.push_str(error);
            log.push('\n');
        }
        let number = (i * 7919 + run * 104_729) % 99_991;
        let word = ["compile", "link", "check", "copy", "test"][i % 5];
        let (day, minute, second) = (run % 9 + 1, i / 60 % 60, i % 60);
        let _ = writeln!(
            log,
            "2026-01-0{day} 12:{minute:02}:{second:02} {word} module_{second}/file{number}.rs in {number} ms"
        );
        if i % 5000 == run {
            let own: String =
                number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            let _ = writeln!(log, "note: {own} took a while");
        }
    }
    log
}

/// Of the logs in `bench/novel`, those in which the line that says what is wrong is among the first five: of the ones by which
/// the rules were made, and of the others.
fn share() -> Result<(f64, f64)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("novel");
    let withheld = std::fs::read_to_string(folder.join("withheld"))?;
    let withheld: HashSet<&str> = withheld.lines().collect();
    let mut found = [(0, 0); 2];
    let mut names: Vec<_> = std::fs::read_dir(folder.join("logs"))?.collect::<Result<_, _>>()?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let name = entry.file_name().to_string_lossy().into_owned();
        let hit = is_found(&entry.path()).with_context(|| name.clone())?;
        if !hit {
            println!("novel: {name}: what is wrong is not among the first five");
        }
        let (hits, all) = &mut found[usize::from(withheld.contains(name.as_str()))];
        *hits += u32::from(hit);
        *all += 1;
    }
    let share = |(hits, all): (u32, u32)| f64::from(hits) / f64::from(all);
    Ok((share(found[0]), share(found[1])))
}

fn is_found(folder: &Path) -> Result<bool> {
    let want = Regex::new(std::fs::read_to_string(folder.join("want"))?.trim())?;
    let mut known = HashSet::new();
    for name in ["passed-1.txt", "passed-2.txt"] {
        let mut shapes = Shapes::default();
        shapes.feed(&std::fs::read(folder.join(name))?);
        known.extend(shapes.finish());
    }
    let log = std::fs::read(folder.join("failed.txt"))?;
    let mut search = Search::new(known);
    search.feed(&log);
    let lines = search.finish(FIRST).lines.into_iter().map(|line| {
        let rest = &log[line.offset as usize..];
        ocelot_model::novel::text(rest.split(|byte| *byte == b'\n').next().unwrap_or_default())
    });
    Ok(lines.into_iter().any(|line| want.is_match(&line)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_wrong_is_among_the_first_five() {
        assert_eq!(super::share().expect("the logs"), (1.0, 1.0));
    }
}
