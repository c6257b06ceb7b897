//! A checked tree to a [`Pipeline`]: what depends on more than one value.
//!
//! Values of a wrong shape were reported by [`shape::check`] and are passed over here.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::problem::{Fault, Report, Span};
use super::shape::{self, boolean, integer};
use super::spec::{Checkout, Job, Pipeline, Pull, Resources, Retry, Schedule};
use super::tree::{Entry, Node, Value, measure};
use super::{keys, needs, notify, stage, subscription, text};
use crate::concurrency::Concurrency;

const DEFAULT_TIMEOUT_MS: u64 = 60 * 60 * 1_000;

/// Most bytes that the copies of the top-level `env` may take.
const MAX_SHARED_ENV: usize = 8 * 1024 * 1024;

/// The name of the job of a file with top-level stages.
const DEFAULT_JOB: &str = "default";

/// The meaning of the file. Complete only when nothing was reported.
pub(super) fn pipeline(top: &Node, report: &mut Report<'_>) -> Pipeline {
    let checkout = top.find("clone").map(checkout).unwrap_or_default();
    let branches = top.find("branches").map(texts).unwrap_or_default();
    let jobs = match entry(top, "jobs") {
        None => vec![job(DEFAULT_JOB, &Source { own: top, top: None, place: top.head() }, &checkout, report)],
        Some(jobs) => {
            if let Some(stages) = entry(top, "stages") {
                let message = "`stages` and `jobs` cannot both stand at the top";
                let fault = Fault::new("conflict", message).hint("move the stages into a job");
                report.add(stages.key_span, fault);
            }
            several(top, &jobs.value, jobs.key_span, &checkout, report)
        }
    };
    limit_stages(top, &jobs, report);
    let concurrency = top.find("concurrency").and_then(concurrency);
    // Absent: yes.
    let keeps = top.find("cancel_superseded").and_then(Node::text);
    let cancel_superseded = keeps.is_none_or(|text| boolean(text, true) != Ok(false));
    let subscriptions = subscription::all(top, &jobs, report);
    let schedules = schedules(top);
    let notify = top.find("notify").map(|node| notify::rules(node, report)).unwrap_or_default();
    Pipeline { branches, checkout, concurrency, schedules, subscriptions, notify, cancel_superseded, jobs }
}

fn schedules(top: &Node) -> Vec<Schedule> {
    let text = |node: &Node, key: &str| node.find(key).and_then(Node::text).map(str::to_owned);
    let schedule = |node: &Node| {
        let time_zone = text(node, "time_zone").unwrap_or_default();
        Some(Schedule { cron: text(node, "cron")?, time_zone, branch: text(node, "branch") })
    };
    match top.find("schedule").map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().filter_map(schedule).collect(),
        _ => Vec::new(),
    }
}

fn concurrency(node: &Node) -> Option<Concurrency> {
    let group = node.find("group")?.text()?.to_owned();
    let limit = node.find("limit").and_then(Node::text).and_then(|text| text.parse().ok()).unwrap_or(1);
    let cancel_running =
        node.find("cancel_running").and_then(Node::text).is_some_and(|text| boolean(text, true) == Ok(true));
    Some(Concurrency { group, limit, cancel_running })
}

fn several(top: &Node, jobs: &Node, span: Span, checkout: &Checkout, report: &mut Report<'_>) -> Vec<Job> {
    if matches!(&jobs.value, Value::Map(entries) if entries.is_empty()) {
        report.add(span, Fault::new("missing_key", "`jobs` needs at least one job"));
    }
    needs::check(jobs, report);
    if let Some(env) = entry(top, "env")
        && shared_size(&env.value).saturating_mul(jobs.entries().len()) > MAX_SHARED_ENV
    {
        let message = format!("each job gets a copy of this: more than {MAX_SHARED_ENV} bytes for all jobs");
        report.add(env.key_span, Fault::new("budget", message));
        return Vec::new();
    }
    let mut read = Vec::new();
    for entry in jobs.entries() {
        if matches!(entry.value.value, Value::Map(_)) {
            let source = Source { own: &entry.value, top: Some(top), place: entry.key_span };
            read.push(job(&entry.key, &source, checkout, report));
        }
    }
    read
}

/// What one copy of an `env` takes, roughly.
fn shared_size(env: &Node) -> usize {
    const EACH: usize = 64;
    let size = measure(env);
    size.bytes + size.nodes * EACH
}

/// Where the keys of a job stand: in the job itself, else at the top as a default.
pub(super) struct Source<'n> {
    own: &'n Node,
    top: Option<&'n Node>,
    /// Where to point when something is missing.
    pub(super) place: Span,
}

impl<'n> Source<'n> {
    fn find(&self, key: &str) -> Option<&'n Node> {
        self.own.find(key).or_else(|| self.top.and_then(|top| top.find(key)))
    }

    pub(super) fn stages(&self) -> Option<&'n Node> {
        self.own.find("stages")
    }
}

fn job(name: &str, source: &Source<'_>, checkout: &Checkout, report: &mut Report<'_>) -> Job {
    let (image, labels) = place(source, report);
    let always_pull = source.find("pull").and_then(Node::text) == Some("always");
    let on_host = labels.get("executor").is_some_and(|executor| executor == "host");
    Job {
        name: name.to_owned(),
        user: source.find("user").and_then(Node::text).and_then(|user| text::user(user).ok()),
        pull: if always_pull { Pull::Always } else { Pull::IfMissing },
        priority: number(source.find("priority"), 0),
        needs: source.own.find("needs").map(needs::names).unwrap_or_default(),
        approval: flag(source.find("approval"), false),
        always: flag(source.find("always"), false),
        allow_failure: flag(source.find("allow_failure"), false),
        timeout_ms: source.find("timeout").and_then(time).unwrap_or(DEFAULT_TIMEOUT_MS),
        retry: source.find("retry").map(retry).unwrap_or_default(),
        resources: source.find("resources").map(resources).unwrap_or_default(),
        env: job_env(source, report),
        secrets: job_secrets(source, report),
        stages: stage::all(source, on_host, report),
        checkout: checkout.clone(),
        image,
        labels,
    }
}

/// Where the job works: in a container of an image, or on the host of a worker.
fn place(source: &Source<'_>, report: &mut Report<'_>) -> (Option<String>, BTreeMap<String, String>) {
    let own = |key: &str| entry(source.own, key);
    let chosen = own("image").is_some() || own("machineTag").is_some();
    // A job that says where it works does not inherit another place.
    let from = |key: &str| if chosen { source.own.find(key) } else { source.find(key) };
    let (image, tag) = (from("image"), from("machineTag"));
    let mut labels = source.find("labels").map(pairs).unwrap_or_default();
    if chosen && own("labels").is_none() {
        labels.remove("executor");
    }
    let executor = labels.get("executor").map(String::as_str);
    let own_host = own("labels").is_some() && executor == Some("host");
    // `labels: {executor: host}` in a job leaves the image of the top aside.
    let image = if own_host && own("image").is_none() { None } else { image };
    let at = own("machineTag").or_else(|| own("labels")).map_or(source.place, |entry| entry.key_span);
    match (image, tag, executor) {
        (Some(_), Some(_), _) => {
            conflict(at, "a job has either `image` or `machineTag`, not both", report);
        }
        (Some(_), None, Some("host")) => {
            conflict(at, "`executor: host` works without an image", report);
        }
        (None, Some(_), Some("docker")) => {
            conflict(
                at,
                "`machineTag` works without a container, but `executor: docker` asks for one",
                report,
            );
        }
        (None, None, Some("host")) | (None, Some(_), _) | (Some(_), None, _) => {}
        (None, None, _) => {
            let fault = Fault::new("missing_image", "the job has neither `image` nor `machineTag`");
            report.add(source.place, fault.hint("say in which image it works, such as `image: debian:12`"));
        }
    }
    if let Some(tag) = tag.and_then(Node::text) {
        labels.insert("tag".to_owned(), tag.to_owned());
        labels.insert("executor".to_owned(), "host".to_owned());
    }
    if image.is_some() {
        // Else a worker without containers would take it, and run it beside whatever is on that machine.
        labels.insert("executor".to_owned(), "docker".to_owned());
    }
    (image.and_then(Node::text).map(str::to_owned), labels)
}

/// Those of the top, then those of the job; what both set is the job's, in the place of the first.
fn job_env(source: &Source<'_>, report: &mut Report<'_>) -> Vec<(String, String)> {
    let shared =
        source.top.and_then(|top| top.find("env")).map(|env| variables(env, report)).unwrap_or_default();
    let own = source.own.find("env").map(|env| variables(env, report)).unwrap_or_default();
    let mut merged: Vec<(String, String)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, value) in shared.into_iter().chain(own) {
        if let Some(at) = places.get(&name) {
            merged[*at].1 = value;
        } else {
            places.insert(name.clone(), merged.len());
            merged.push((name, value));
        }
    }
    merged
}

/// Those of the top, then those of the job; both hold.
fn job_secrets(source: &Source<'_>, report: &mut Report<'_>) -> Vec<String> {
    let mut names = Vec::new();
    // What stands at the top is looked at once for each job, and reported once.
    let top = source.top.and_then(|top| top.find("secrets")).map(texts).unwrap_or_default();
    let own = source.own.find("secrets").map(|own| secrets(own, report)).unwrap_or_default();
    for name in top.into_iter().chain(own) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The names of one `secrets`.
pub(super) fn secrets(node: &Node, report: &mut Report<'_>) -> Vec<String> {
    let mut seen = HashSet::new();
    for item in node.items() {
        if let Some(name) = item.text()
            && !seen.insert(name)
        {
            let message = format!("the secret `{name}` is named here twice");
            report.add(item.span, Fault::new("duplicate_key", message));
        }
    }
    texts(node)
}

/// The variables of one `env`; a list may name one twice, which no map can.
pub(super) fn variables(node: &Node, report: &mut Report<'_>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for (name, value, span) in shape::variables(node) {
        if seen.insert(name.clone()) {
            kept.push((name, value));
        } else {
            report.add(span, Fault::new("duplicate_key", format!("the variable `{name}` is set here twice")));
        }
    }
    kept
}

fn checkout(node: &Node) -> Checkout {
    let usual = Checkout::default();
    Checkout { depth: number(node.find("depth"), usual.depth), tags: flag(node.find("tags"), usual.tags) }
}

fn retry(node: &Node) -> Retry {
    let usual = Retry::default();
    Retry {
        infrastructure: number(node.find("infrastructure"), usual.infrastructure),
        script: number(node.find("script"), usual.script),
    }
}

fn resources(node: &Node) -> Resources {
    Resources {
        cpu: node.find("cpu").and_then(Node::text).and_then(|cpu| text::cpu(cpu).ok()),
        memory: node.find("memory").and_then(Node::text).and_then(|memory| text::memory(memory).ok()),
    }
}

fn limit_stages(top: &Node, jobs: &[Job], report: &mut Report<'_>) {
    let stages: usize = jobs.iter().map(|job| job.stages.len()).sum();
    if stages > keys::MAX_STAGES {
        let span =
            entry(top, "jobs").or_else(|| entry(top, "stages")).map_or(top.head(), |entry| entry.key_span);
        let message = format!("the file has {stages} stages, at most {} are allowed", keys::MAX_STAGES);
        report.add(span, Fault::new("stage_limit", message));
    }
}

pub(super) fn conflict(span: Span, message: &str, report: &mut Report<'_>) {
    report.add(span, Fault::new("conflict", message));
}

pub(super) fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Entry> {
    node.entries().iter().find(|entry| entry.key == key)
}

/// A text or a list of them.
pub(super) fn texts(node: &Node) -> Vec<String> {
    let one = node.text().into_iter();
    one.chain(node.items().iter().filter_map(Node::text)).map(str::to_owned).collect()
}

pub(super) fn time(node: &Node) -> Option<u64> {
    node.text().and_then(|text| text::duration(text).ok())
}

pub(super) fn flag(node: Option<&Node>, default: bool) -> bool {
    node.and_then(Node::text).and_then(|text| boolean(text, true).ok()).unwrap_or(default)
}

pub(super) fn number<T: TryFrom<i64>>(node: Option<&Node>, default: T) -> T {
    let number = node.and_then(Node::text).and_then(|text| integer(text, true, i64::MIN, i64::MAX).ok());
    number.and_then(|number| T::try_from(number).ok()).unwrap_or(default)
}

fn pairs(node: &Node) -> BTreeMap<String, String> {
    let pair = |entry: &Entry| Some((entry.key.clone(), entry.value.text()?.to_owned()));
    node.entries().iter().filter_map(pair).collect()
}
