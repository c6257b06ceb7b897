//! What the people who run a server allow at most, whatever a file asks for.
//!
//! Asking for more is an error with its place, not a smaller limit without a word: a job that ends at a time that its
//! file does not name would be looked into again and again.

use super::problem::{Fault, Report};
use super::tree::Node;
use super::{Pipeline, text};

/// Upper bounds; `None` for no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Longest `timeout` of a job or stage, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Most processor cores of a job; also what a job gets that asks for none.
    pub cpu: Option<f64>,
    /// Most bytes of memory of a job; also what a job gets that asks for none.
    pub memory: Option<u64>,
}

impl Limits {
    /// Looks wherever a file may ask: at the top, in jobs, in stages.
    pub(super) fn check(&self, top: &Node, report: &mut Report<'_>) {
        let jobs = top.find("jobs").map(Node::entries).unwrap_or_default();
        for place in std::iter::once(top).chain(jobs.iter().map(|entry| &entry.value)) {
            self.check_place(place, report);
            for stage in place.find("stages").map(Node::items).unwrap_or_default() {
                self.check_place(stage, report);
            }
        }
    }

    fn check_place(&self, place: &Node, report: &mut Report<'_>) {
        let mut over = |key: &str, node: &Node, most: String| {
            let said = node.text().unwrap_or_default();
            let fault = Fault::new("over_limit", format!("`{key}` is {said}, at most {most} here"))
                .hint("the people who run this server set that limit");
            report.add(node.span, fault);
        };
        let asks = |node: &Node, read: fn(&str) -> Option<f64>| node.text().and_then(read);
        if let (Some(node), Some(most)) = (place.find("timeout"), self.timeout_ms)
            && asks(node, |text| text::duration(text).ok().map(|ms| ms as f64))
                .is_some_and(|ms| ms > most as f64)
        {
            over("timeout", node, time(most));
        }
        let Some(resources) = place.find("resources") else { return };
        if let (Some(node), Some(most)) = (resources.find("cpu"), self.cpu)
            && asks(node, |text| text::cpu(text).ok()).is_some_and(|cores| cores > most)
        {
            over("cpu", node, most.to_string());
        }
        if let (Some(node), Some(most)) = (resources.find("memory"), self.memory)
            && asks(node, |text| text::memory(text).ok().map(|bytes| bytes as f64))
                .is_some_and(|bytes| bytes > most as f64)
        {
            over("memory", node, size(most));
        }
    }

    /// What a file says nothing of is bounded too.
    pub(super) fn apply(&self, pipeline: &mut Pipeline) {
        for job in &mut pipeline.jobs {
            job.timeout_ms = job.timeout_ms.min(self.timeout_ms.unwrap_or(u64::MAX));
            // A job on a worker's host has no container whose limits these are.
            if job.image.is_some() {
                job.resources.cpu = job.resources.cpu.or(self.cpu);
                job.resources.memory = job.resources.memory.or(self.memory);
            }
        }
    }
}

/// `4h`, `90m`, `45s`: the largest unit that it is a whole number of.
fn time(ms: u64) -> String {
    match ms {
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// `4GiB`, `512MiB`, `1KiB`, or bytes.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(shift, _)| bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_within};
    use super::*;

    const LIMITS: Limits = Limits { timeout_ms: Some(4 * 3_600_000), cpu: Some(2.0), memory: Some(1 << 30) };

    fn check(file: &str, want: &str) {
        let said = match parse_within(file.as_bytes(), &LIMITS) {
            Ok(pipeline) => {
                let job = &pipeline.jobs[0];
                format!(
                    "{} {:?} {:?}",
                    time(job.timeout_ms),
                    job.resources.cpu,
                    job.resources.memory.map(size)
                )
            }
            Err(problems) => problems.to_string(),
        };
        assert_eq!(said, want, "{file}");
        assert!(parse(file.as_bytes()).is_ok(), "{file}");
    }

    #[test]
    fn more_than_the_limit_is_an_error_with_its_place() {
        let rest = "image: a\nstages:\n  - {name: t, script: [a]}\n";
        check(rest, r#"1h Some(2.0) Some("1GiB")"#);
        check(
            &format!("timeout: 4h\nresources: {{cpu: 0.5, memory: 512MiB}}\n{rest}"),
            r#"4h Some(0.5) Some("512MiB")"#,
        );
        let hint = "(the people who run this server set that limit)";
        check(
            &format!("timeout: 5h\nresources: {{cpu: 3, memory: 2GiB}}\n{rest}"),
            &format!(
                "1:10: `timeout` is 5h, at most 4h here {hint}\n2:18: `cpu` is 3, at most 2 here {hint}\n2:29: `memory` \
                 is 2GiB, at most 1GiB here {hint}"
            ),
        );
        check(
            "jobs:\n  one:\n    image: a\n    stages:\n      - {name: t, script: [a], timeout: 6h}\n",
            &format!("5:41: `timeout` is 6h, at most 4h here {hint}"),
        );
        // No container, no limits of one.
        check("machineTag: mac\nstages:\n  - {name: t, script: [a]}\n", "1h None None");
    }
}
