//! Which job waits for which: every name must be known, and nobody may wait for himself.

use std::collections::{HashMap, HashSet};

use super::problem::{Fault, Report, Span, nearest, quote};
use super::tree::Node;

/// Most names in the message about a cycle.
const SHOWN: usize = 12;

/// The jobs that `needs` names, each once.
pub(super) fn names(node: &Node) -> Vec<String> {
    let mut seen = HashSet::new();
    listed(node).filter(|(name, _)| seen.insert(*name)).map(|(name, _)| name.to_owned()).collect()
}

fn listed(node: &Node) -> impl Iterator<Item = (&str, Span)> {
    let one = node.text().map(|text| (text, node.span));
    one.into_iter().chain(node.items().iter().filter_map(|item| Some((item.text()?, item.span))))
}

/// Reports unknown names and the cycles of the map `jobs`.
pub(super) fn check(jobs: &Node, report: &mut Report<'_>) {
    let index: HashMap<&str, usize> =
        jobs.entries().iter().enumerate().map(|(at, entry)| (entry.key.as_str(), at)).collect();
    let mut graph: Vec<Vec<(usize, Span)>> = vec![Vec::new(); jobs.entries().len()];
    for (at, entry) in jobs.entries().iter().enumerate() {
        for (name, span) in entry.value.find("needs").into_iter().flat_map(listed) {
            match index.get(name) {
                Some(need) if *need == at => cycle(&[&entry.key, &entry.key], span, report),
                Some(need) => graph[at].push((*need, span)),
                None => unknown(name, span, jobs, report),
            }
        }
    }
    let names: Vec<&str> = jobs.entries().iter().map(|entry| entry.key.as_str()).collect();
    if let Some((path, span)) = find_cycle(&graph) {
        let path: Vec<&str> = path.into_iter().map(|at| names[at]).collect();
        cycle(&path, span, report);
    }
}

/// The first cycle, its first job repeated at its end, and the place of the need that closes it.
fn find_cycle(graph: &[Vec<(usize, Span)>]) -> Option<(Vec<usize>, Span)> {
    let mut done = vec![false; graph.len()];
    for start in 0..graph.len() {
        // Jobs on the way here, each with the number of its needs already followed.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        let mut on_way = vec![false; graph.len()];
        on_way[start] = true;
        while let Some((job, next)) = way.last_mut() {
            let job = *job;
            if done[job] || *next == graph[job].len() {
                done[job] = true;
                on_way[job] = false;
                way.pop();
                continue;
            }
            let (need, span) = graph[job][*next];
            *next += 1;
            if on_way[need] {
                let from = way.iter().position(|(job, _)| *job == need)?;
                let path = way[from..].iter().map(|(job, _)| *job).chain([need]).collect();
                return Some((path, span));
            }
            if !done[need] {
                on_way[need] = true;
                way.push((need, 0));
            }
        }
    }
    None
}

fn cycle(path: &[&str], span: Span, report: &mut Report<'_>) {
    let path = match path {
        [start @ .., last] if start.len() > SHOWN => {
            format!("{} -> … -> {last}", start[..SHOWN].join(" -> "))
        }
        path => path.join(" -> "),
    };
    report.add(span, Fault::new("cycle", format!("jobs wait for each other: {path}")));
}

fn unknown(name: &str, span: Span, jobs: &Node, report: &mut Report<'_>) {
    if report.is_full() {
        return;
    }
    let fault = Fault::new("unknown_job", format!("there is no job {}", quote(name)));
    let meant = nearest(name, jobs.entries().iter().map(|entry| entry.key.as_str()));
    let fault = match meant {
        Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
        None => fault,
    };
    report.add(span, fault);
}
