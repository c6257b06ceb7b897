//! The stages of one job.

use std::collections::HashSet;

use super::condition::{Condition, directive, when};
use super::problem::{Fault, Report, Span, quote};
use super::read::{self, Source, conflict, entry, flag, number, texts, time, variables};
use super::shape::boolean;
use super::spec::{AllowFailure, Run, Stage};
use super::text;
use super::tree::{Node, Value};

/// Shells that know `-e`, which makes the first line that fails end the script.
const SHELLS: &[&str] = &["sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"];

/// Reads and checks the stages of a job.
pub(super) fn all(source: &Source<'_>, on_host: bool, report: &mut Report<'_>) -> Vec<Stage> {
    let Some(stages) = source.stages() else {
        missing_stages(source.place, report);
        return Vec::new();
    };
    if matches!(&stages.value, Value::List(items) if items.is_empty()) {
        missing_stages(stages.span, report);
    }
    let mut names = HashSet::new();
    let maps = stages.items().iter().filter(|item| matches!(item.value, Value::Map(_)));
    maps.map(|node| {
        if let Some(name) = node.find("name")
            && let Some(text) = name.text()
            && !names.insert(text)
        {
            let message = format!("two stages of this job are called {}", quote(text));
            report.add(name.span, Fault::new("duplicate_stage", message));
        }
        one(node, on_host, report)
    })
    .collect()
}

fn missing_stages(span: Span, report: &mut Report<'_>) {
    let fault = Fault::new("missing_key", "a job needs `stages`, at least one");
    report.add(span, fault.hint("add `stages: [{name: test, script: [echo hello]}]`"));
}

fn one(node: &Node, on_host: bool, report: &mut Report<'_>) -> Stage {
    for key in ["image", "isolated"].into_iter().filter(|_| on_host) {
        let asked = entry(node, key).filter(|entry| key == "image" || flag(Some(&entry.value), false));
        if let Some(entry) = asked {
            let message = format!("`{key}` needs a container, but this job works on the host");
            conflict(entry.key_span, &message, report);
        }
    }
    let line = |key: &str| node.find(key).and_then(Node::text);
    let condition = condition(node);
    Stage {
        name: line("name").unwrap_or_default().to_owned(),
        image: line("image").map(str::to_owned),
        isolated: flag(node.find("isolated"), false),
        run: what(node, report),
        workdir: line("workdir").and_then(|path| text::path(path).ok()).unwrap_or_else(|| ".".to_owned()),
        env: node.find("env").map(|env| variables(env, report)).unwrap_or_default(),
        secrets: node.find("secrets").map(|names| read::secrets(names, report)).unwrap_or_default(),
        branches: branches(node, condition.triggers.is_empty()),
        timeout_ms: node.find("timeout").and_then(time),
        allow_failure: node.find("allow_failure").map(allow_failure).unwrap_or_default(),
        always: flag(node.find("always"), false),
        condition,
        decided: None,
    }
}

/// As in the original, `trigger` counts only where there are no `triggers`.
fn branches(node: &Node, alone: bool) -> Vec<String> {
    let branches = node.find("trigger").and_then(|trigger| trigger.find("branches"));
    branches.filter(|_| alone).map(texts).unwrap_or_default()
}

fn condition(node: &Node) -> Condition {
    let lines = node.find("triggers").map(Node::items).unwrap_or_default();
    let lines = lines.iter().filter_map(Node::text);
    let when = node.find("when").and_then(Node::text);
    Condition {
        triggers: lines.filter_map(|line| Some(directive::parse(line).ok()?.expr)).collect(),
        when: when.and_then(|text| Some(when::parse(text).ok()?.expr)),
    }
}

fn what(node: &Node, report: &mut Report<'_>) -> Run {
    match (entry(node, "script"), entry(node, "command")) {
        (Some(_), Some(command)) => {
            conflict(command.key_span, "a stage has either `script` or `command`, not both", report);
        }
        (None, Some(command)) => {
            if let Some(shell) = entry(node, "shell") {
                conflict(shell.key_span, "`command` has no shell; write `script` to have one", report);
            }
            if texts(&command.value).first().is_none_or(String::is_empty) && !is_broken(&command.value) {
                nothing(command.key_span, "`command` names no program", report);
            }
            return Run::Command(texts(&command.value));
        }
        (Some(script), None) => {
            let blank = texts(&script.value).iter().all(|line| line.trim().is_empty());
            if blank && !is_broken(&script.value) {
                nothing(script.key_span, "`script` is empty", report);
            }
        }
        (None, None) => nothing(node.head(), "a stage needs `script` (or `command`)", report),
    }
    let script = node.find("script");
    let text = script.and_then(Node::text).map(|text| text.trim_end_matches('\n'));
    Run::Script {
        shell: shell(node.find("shell")),
        lines: match text {
            Some(text) => vec![text.to_owned()],
            None => script.map(texts).unwrap_or_default(),
        },
        block: text.is_some_and(|text| text.contains('\n')),
    }
}

fn nothing(span: Span, message: &str, report: &mut Report<'_>) {
    report.add(span, Fault::new("missing_key", message));
}

/// Something other than text stands there, which was reported.
fn is_broken(node: &Node) -> bool {
    let wrong = |node: &Node| !matches!(node.value, Value::Text { .. });
    match &node.value {
        Value::List(items) => !items.is_empty() && items.iter().any(wrong),
        Value::Null | Value::Map(_) | Value::Broken => true,
        Value::Text { .. } => false,
    }
}

fn shell(node: Option<&Node>) -> Vec<String> {
    let words: Vec<String> = match node {
        Some(node) => match node.text() {
            Some(text) => text.split_whitespace().map(str::to_owned).collect(),
            None => texts(node),
        },
        None => vec!["/bin/sh".to_owned()],
    };
    match words.as_slice() {
        [program] if program.rsplit('/').next().is_some_and(|name| SHELLS.contains(&name)) => {
            vec![program.clone(), "-e".to_owned()]
        }
        _ => words,
    }
}

fn allow_failure(node: &Node) -> AllowFailure {
    match node.text().map(|text| boolean(text, true)) {
        Some(Ok(true)) => AllowFailure::Yes,
        Some(_) => AllowFailure::No,
        None if node.items().is_empty() => AllowFailure::No,
        None => AllowFailure::Codes(node.items().iter().map(|item| number(Some(item), 0)).collect()),
    }
}
