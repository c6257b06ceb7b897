//! Medians, and the JSON that a measurement leaves behind.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

/// The middle one (of an even number, the mean of the two).
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// One figure against its target.
pub(crate) struct Figure {
    /// Stable word.
    pub(crate) name: &'static str,
    /// What was measured.
    pub(crate) value: f64,
    /// The bound.
    pub(crate) target: f64,
    /// True when more is better.
    pub(crate) more_is_better: bool,
    /// Unit, or `ratio`.
    pub(crate) unit: &'static str,
}

impl Figure {
    /// 1 or more: the target is met; 0.7 is the least that passes.
    pub(crate) fn score(&self) -> f64 {
        if self.more_is_better {
            self.value / self.target
        } else if self.value <= self.target {
            // Also when the target is nothing at all, and the difference of two times can be below that.
            1.0
        } else {
            self.target / self.value
        }
    }
}

/// Writes `bench/out/<name>.json` and prints the figures. False when one that is no time is below 0.7 of its target.
pub(crate) fn write(name: &str, figures: &[Figure], raw: &Value) -> Result<bool> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("out");
    std::fs::create_dir_all(&out)?;
    let rows: Vec<Value> = figures
        .iter()
        .map(|f| {
            json!({"name": f.name, "value": round(f.value), "unit": f.unit, "target": f.target,
                   "bound": if f.more_is_better { "at least" } else { "at most" }, "met": f.score() >= 1.0})
        })
        .collect();
    let whole = json!({
        "bench": name, "date": jiff::Timestamp::now().to_string(), "commit": commit(), "machine": machine(),
        "figures": rows, "raw": raw,
    });
    std::fs::write(out.join(format!("{name}.json")), serde_json::to_string_pretty(&whole)? + "\n")?;
    for f in figures {
        let bound = if f.more_is_better { "at least" } else { "at most" };
        let verdict = if f.score() >= 1.0 { "met" } else { "MISSED" };
        println!("{name}: {} = {:.3} {} ({bound} {}): {verdict}", f.name, f.value, f.unit, f.target);
    }
    // How many milliseconds something takes is as much the machine's doing: that is told, and not held against anyone.
    Ok(figures.iter().filter(|f| f.unit != "ms").all(|f| f.score() >= 0.7))
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn commit() -> String {
    Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn machine() -> Value {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let total =
        memory.lines().next().unwrap_or_default().split_whitespace().nth(1).unwrap_or_default().to_owned();
    json!({
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory_kib": total,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
