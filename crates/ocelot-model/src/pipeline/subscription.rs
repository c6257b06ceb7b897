//! `subscriptions`: other repositories whose passed builds make one here.
//!
//! Only what the file itself can tell is checked here; whether the repositories are there, and whether they go round in
//! a circle, is told when the block is stored ([`crate::subscription`]).

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::env::check_env_name;
use super::problem::{Fault, Report, quote};
use super::spec::Job;
use super::text::MAX_NAME;
use super::tree::{Node, Value};
use crate::repo::is_segment;

/// One entry of `subscriptions`, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// `owner/name`; of plain git the name alone, or `git/name`.
    pub acct_repo: String,
    /// Short name or kind of its forge; the subscriber's own when `None`.
    pub forge: Option<String>,
    /// What it is called here; begins the names of its variables.
    pub alias: String,
    /// Branch there to branch here; never empty.
    pub branches: BTreeMap<String, String>,
}

/// The names of the variables that a build gets which follows a build of this subscription: commit, short commit, branch
/// and number of that build.
pub fn variable_names(alias: &str) -> [String; 4] {
    let alias = alias.to_ascii_uppercase();
    ["GIT_HASH", "GIT_HASH_SHORT", "GIT_BRANCH", "BUILD_ID"].map(|end| format!("{alias}_{end}"))
}

pub(super) fn check_alias(text: &str) -> Result<(), Fault> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let valid = text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if !valid {
        let message = format!("{} is no alias: it begins the names of variables", quote(text));
        let hint = format!("letters, digits and `_`, no digit first, at most {MAX_NAME}");
        return Err(Fault::new("alias", message).hint(hint));
    }
    match variable_names(text).iter().find(|name| check_env_name(name).is_err()) {
        Some(name) => {
            let message =
                format!("{} would make the variable {}, which is Ocelot's", quote(text), quote(name));
            Err(Fault::new("reserved_env", message).hint("take another alias"))
        }
        None => Ok(()),
    }
}

pub(super) fn check_repo(text: &str) -> Result<(), Fault> {
    let parts = text.split('/').count();
    if parts <= 21 && text.split('/').all(is_segment) {
        return Ok(());
    }
    let message = format!("{} is no repository", quote(text));
    Err(Fault::new("repo", message).hint("write `owner/name`, and its forge as `acctVcsType`"))
}

pub(super) fn check_forge(text: &str) -> Result<(), Fault> {
    if is_segment(text) {
        return Ok(());
    }
    let message = format!("{} is no name of a forge", quote(text));
    Err(Fault::new("forge", message).hint("write its short name here, such as `github`, or `git`"))
}

/// git's own rules of what a branch may be called. What it could never be called is a slip, such as a pattern.
pub(super) fn check_branch(text: &str) -> Result<(), Fault> {
    let barred = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none();
    let valid = !text.contains(barred)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && text != "@"
        && text.split('/').all(part);
    let fault = || Fault::new("branch_name", format!("{} is no name of a branch", quote(text)));
    match text.strip_prefix("refs/heads/") {
        Some(name) => Err(fault().hint(format!("write {}", quote(name)))),
        None if valid => Ok(()),
        None if text.contains(['*', '?', '[']) => {
            Err(fault().hint("patterns mean nothing here: write the whole name of each branch"))
        }
        None => Err(fault()),
    }
}

pub(super) fn check_pair(text: &str) -> Result<(), Fault> {
    match text.split_once(':') {
        Some((there, here)) if !there.is_empty() && !here.is_empty() && !here.contains(':') => {
            check_branch(there)?;
            check_branch(here)
        }
        _ => {
            Err(Fault::new("type", format!("{} is no pair of branches", quote(text)))
                .hint("write `there:here`"))
        }
    }
}

/// The subscriptions of the file.
pub(super) fn all(top: &Node, jobs: &[Job], report: &mut Report<'_>) -> Vec<Subscription> {
    let Some(block) = top.find("subscriptions") else { return Vec::new() };
    let taken = taken(jobs);
    let mut aliases = HashSet::new();
    let mut found = Vec::new();
    for item in block.items().iter().filter(|item| matches!(item.value, Value::Map(_))) {
        if let Some(alias) = item.find("alias") {
            check_free(alias, &taken, &mut aliases, report);
        }
        let text = |key: &str| item.find(key).and_then(Node::text).map(str::to_owned);
        let branches = branches(item, report);
        if let (Some(acct_repo), Some(alias)) = (text("acctRepo"), text("alias")) {
            found.push(Subscription { acct_repo, forge: text("acctVcsType"), alias, branches });
        }
    }
    found
}

/// Names of variables and secrets that the file sets itself.
fn taken(jobs: &[Job]) -> HashSet<&str> {
    let mut names = HashSet::new();
    for job in jobs {
        let stages = &job.stages;
        names.extend(
            job.env.iter().chain(stages.iter().flat_map(|stage| &stage.env)).map(|(name, _)| name.as_str()),
        );
        let secrets = job.secrets.iter().chain(stages.iter().flat_map(|stage| &stage.secrets));
        names.extend(secrets.map(String::as_str));
    }
    names
}

/// No two subscriptions, and nothing else in the file, have the same variables.
fn check_free(node: &Node, taken: &HashSet<&str>, aliases: &mut HashSet<String>, report: &mut Report<'_>) {
    let Some(alias) = node.text() else { return };
    if !aliases.insert(alias.to_ascii_uppercase()) {
        let message = format!("the alias {} is there twice; its case does not count", quote(alias));
        report.add(node.span, Fault::new("duplicate_alias", message).hint("each needs an alias of its own"));
    }
    if let Some(name) = variable_names(alias).iter().find(|name| taken.contains(name.as_str())) {
        let message =
            format!("the alias {} would overwrite {}, which this file sets", quote(alias), quote(name));
        let hint = format!("take another alias; a script can give it a default with `${{{name}:-…}}`");
        report.add(node.span, Fault::new("reserved_env", message).hint(hint));
    }
}

/// The map, in either spelling.
fn branches(item: &Node, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let node = match (item.find("branchQueueMap"), item.find("branches")) {
        (Some(node), None) | (None, Some(node)) => node,
        (Some(_), Some(_)) => {
            let message = "`branchQueueMap` and `branches` mean the same";
            report.add(item.head(), Fault::new("conflict", message).hint("leave one of them out"));
            return BTreeMap::new();
        }
        (None, None) => {
            let message = "a subscription needs `branchQueueMap`";
            let hint = "write `branchQueueMap: [main:main]`: the branch there, and the one to build here";
            report.add(item.head(), Fault::new("missing_key", message).hint(hint));
            return BTreeMap::new();
        }
    };
    let mut map = BTreeMap::new();
    for entry in node.entries() {
        if let Some(here) = entry.value.text() {
            map.insert(entry.key.clone(), here.to_owned());
        }
    }
    for pair in node.items() {
        if let Some((there, here)) = pair.text().and_then(|text| text.split_once(':'))
            && map.insert(there.to_owned(), here.to_owned()).is_some()
        {
            let message =
                format!("the branch {} is there twice; it can start only one build here", quote(there));
            report.add(pair.span, Fault::new("duplicate_key", message));
        }
    }
    if node.entries().is_empty() && node.items().is_empty() && !matches!(node.value, Value::Broken) {
        let fault = Fault::new("empty_value", "without branches this subscription does nothing");
        report.add(node.span, fault.hint("write `[main:main]`: the branch there, and the one to build here"));
    }
    map
}
