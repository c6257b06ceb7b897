//! Decides over conditions, and says why in words.
//!
//! What depends on files that are not known is neither true nor false; a stage whose conditions come to
//! that runs, because a stage too many costs less than a test that nobody ran.

use std::collections::HashMap;

use globset::GlobMatcher;
use regex::bytes::Regex;

use super::words::{cut, shown, some};
use super::{Expr, Fact, Facts, Operand, Test};
use crate::pipeline::spec::{Decided, Job, Stage};
use crate::pipeline::{glob, trigger};

/// Most bytes of a fact that a regular expression sees.
const SEARCHED: usize = 4_096;
/// Most bytes of all messages together that are looked at.
const MESSAGES: usize = 256 * 1024;

/// What the conditions of a stage come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has none, and runs.
    Free,
    /// They hold, for this reason.
    Holds(String),
    /// What they ask for is not known, for this reason; it runs.
    Unsure(String),
    /// They do not hold, for this reason.
    Fails(String),
}

/// A pattern that no branch matches: a blank cannot stand in its name.
const NO_BRANCH: &str = "no branch";

/// Decides about every stage and writes it down in [`Stage::decided`].
pub fn decide(jobs: &mut [Job], facts: &Facts) {
    let mut judge = Judge::new(facts);
    for job in jobs {
        let verdicts: Vec<Verdict> = job.stages.iter().map(|stage| judge.stage(job, stage)).collect();
        for (stage, verdict) in job.stages.iter_mut().zip(verdicts) {
            stage.decided = match verdict {
                Verdict::Free | Verdict::Holds(_) => None,
                Verdict::Unsure(why) => Some(Decided::Run(format!("{why}, so it runs"))),
                Verdict::Fails(why) => {
                    // Older servers and workers know nothing of decisions, but all know branches.
                    stage.branches = vec![NO_BRANCH.to_owned()];
                    Some(Decided::Skip(why))
                }
            };
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    No,
    Yes,
    Unknown,
}

/// A truth, and why.
struct Finding {
    truth: Truth,
    words: String,
}

impl Finding {
    fn new(truth: bool, words: impl Into<String>) -> Finding {
        Finding { truth: if truth { Truth::Yes } else { Truth::No }, words: words.into() }
    }
}

/// Knows the facts of one build, and remembers the patterns that it has met.
pub struct Judge<'f> {
    facts: &'f Facts,
    messages: Vec<&'f str>,
    /// Compiled, by text and whether they must match the whole; one that does not compile matches nothing.
    patterns: HashMap<(bool, String), Option<Regex>>,
    /// The changed file that each glob matches.
    globs: HashMap<String, Option<&'f str>>,
}

/// Where variables of a condition come from: the stage first, then its job.
struct Scene<'s> {
    job: &'s Job,
    stage: &'s Stage,
}

impl Scene<'_> {
    fn variable(&self, name: &str) -> &str {
        let all = self.stage.env.iter().chain(&self.job.env);
        all.into_iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

impl<'f> Judge<'f> {
    /// A judge for one build.
    pub fn new(facts: &'f Facts) -> Judge<'f> {
        let mut left = MESSAGES;
        let cut = |message: &'f String| {
            let head = head(message, left);
            left -= head.len();
            head
        };
        let messages = facts.messages.iter().map(cut).filter(|message| !message.is_empty()).collect();
        Judge { facts, messages, patterns: HashMap::new(), globs: HashMap::new() }
    }

    /// What the conditions of a stage come to.
    pub fn stage(&mut self, job: &Job, stage: &Stage) -> Verdict {
        let scene = Scene { job, stage };
        let mut findings = Vec::new();
        if !stage.branches.is_empty() {
            findings.push(("trigger", self.branch(&stage.branches)));
        }
        if !stage.condition.triggers.is_empty() {
            findings.push(("triggers", self.any(&stage.condition.triggers, &scene)));
        }
        if let Some(when) = &stage.condition.when {
            findings.push(("when", self.expr(when, &scene)));
        }
        let said = |truth: Truth| {
            let words: Vec<String> = findings
                .iter()
                .filter(|(_, finding)| finding.truth == truth)
                .map(|(key, finding)| cut(format!("{key}: {}", finding.words)))
                .collect();
            (!words.is_empty()).then(|| words.join("; "))
        };
        if let Some(why) = said(Truth::No) {
            return Verdict::Fails(why);
        }
        if let Some(why) = said(Truth::Unknown) {
            return Verdict::Unsure(why);
        }
        said(Truth::Yes).map_or(Verdict::Free, Verdict::Holds)
    }

    fn expr(&mut self, expr: &Expr, scene: &Scene<'_>) -> Finding {
        match expr {
            Expr::Any(parts) => self.any(parts, scene),
            Expr::All(parts) => self.joined(parts, scene, Truth::No),
            Expr::Not(inner) => {
                let Finding { truth, words } = self.expr(inner, scene);
                let truth = match truth {
                    Truth::No => Truth::Yes,
                    Truth::Yes => Truth::No,
                    Truth::Unknown => Truth::Unknown,
                };
                Finding { truth, words }
            }
            Expr::Constant(value) => Finding::new(*value, value.to_string()),
            Expr::Test(test) => self.test(test, scene),
        }
    }

    fn any(&mut self, parts: &[Expr], scene: &Scene<'_>) -> Finding {
        self.joined(parts, scene, Truth::Yes)
    }

    /// The first part that is `decisive` decides; then the first that is not known; else all of them say why.
    fn joined(&mut self, parts: &[Expr], scene: &Scene<'_>, decisive: Truth) -> Finding {
        let mut unknown = None;
        let mut others: Vec<String> = Vec::new();
        for part in parts {
            let finding = self.expr(part, scene);
            if finding.truth == decisive {
                return finding;
            }
            if finding.truth == Truth::Unknown {
                unknown.get_or_insert(finding);
            } else if !others.contains(&finding.words) && others.len() < 10 {
                others.push(finding.words);
            }
        }
        let truth = if decisive == Truth::Yes { Truth::No } else { Truth::Yes };
        unknown.unwrap_or_else(|| Finding { truth, words: others.join(", and ") })
    }

    fn test(&mut self, test: &Test, scene: &Scene<'_>) -> Finding {
        match test {
            Test::Is(fact, values) => self.is(fact, values, scene),
            Test::Matches(fact, pattern) => {
                let value = head(value_of(self.facts, fact, scene), SEARCHED);
                let found = self.regex(false, pattern).is_some_and(|regex| regex.is_match(value.as_bytes()));
                let said = if found { "matches" } else { "does not match" };
                Finding::new(found, format!("{} {said} {}", named(fact, value), shown(pattern)))
            }
            Test::Branch(patterns) => self.branch(patterns),
            Test::Changed(globs) => self.changed(globs),
            Test::Path(part) => {
                let found = self.facts.files.paths.iter().find(|path| path.contains(part.as_str()));
                self.file(found.map(String::as_str), &format!("with {} in its path", shown(part)))
            }
            Test::Message(part) => {
                let found = self.messages.iter().any(|message| message.contains(part.as_str()));
                let said = if found { "a message has" } else { "no message has" };
                Finding::new(found, format!("{said} {} in it", shown(part)))
            }
            Test::Upstream(aliases) => {
                let found = aliases.iter().find(|alias| is_one_of(alias, &self.facts.upstream));
                let words = match found {
                    Some(alias) => format!("it follows a build of {}", shown(alias)),
                    None => follows_none(aliases, &self.facts.aliases),
                };
                Finding::new(found.is_some(), words)
            }
        }
    }

    fn is(&self, fact: &Fact, values: &[Operand], scene: &Scene<'_>) -> Finding {
        let value = value_of(self.facts, fact, scene);
        let others: Vec<&str> = values
            .iter()
            .map(|other| match other {
                Operand::Text(text) => text.as_str(),
                Operand::Fact(fact) => value_of(self.facts, fact, scene),
            })
            .collect();
        let is = named_is(fact, value);
        if others.contains(&value) {
            return Finding::new(true, is);
        }
        let not = match others.as_slice() {
            [""] => return Finding::new(false, is),
            [other] => format!("not {}", shown(other)),
            others => format!("none of {}", some(others.iter().copied())),
        };
        Finding::new(false, format!("{is}, {not}"))
    }

    fn branch(&mut self, patterns: &[String]) -> Finding {
        let facts = self.facts;
        let is = named_is(&Fact::Branch, &facts.branch);
        for pattern in patterns {
            if pattern == trigger::ALL
                || self.regex(true, pattern).is_some_and(|regex| regex.is_match(facts.branch.as_bytes()))
            {
                return Finding::new(true, is);
            }
        }
        let not = match patterns {
            [pattern] => format!("not {}", shown(pattern)),
            patterns => format!("none of {}", some(patterns.iter().map(String::as_str))),
        };
        Finding::new(false, format!("{is}, {not}"))
    }

    fn regex(&mut self, whole: bool, pattern: &str) -> Option<&Regex> {
        let compiled = self.patterns.entry((whole, pattern.to_owned())).or_insert_with(|| {
            if whole { trigger::compile(pattern) } else { trigger::searcher(pattern) }.ok()
        });
        compiled.as_ref()
    }

    fn changed(&mut self, globs: &[String]) -> Finding {
        let paths = &self.facts.files.paths;
        let first =
            |matcher: GlobMatcher| paths.iter().map(String::as_str).find(|path| matcher.is_match(path));
        let found = globs.iter().find_map(|glob| {
            *self.globs.entry(glob.clone()).or_insert_with(|| glob::matcher(glob).ok().and_then(first))
        });
        let globs = some(globs.iter().map(String::as_str));
        self.file(found, &format!("that matches {globs}"))
    }

    /// What is said of a changed file that was looked for, and found or not.
    fn file(&self, found: Option<&str>, which: &str) -> Finding {
        match (found, &self.facts.files.gap) {
            (Some(path), _) => Finding::new(true, format!("{} has changed", shown(path))),
            (None, Some(gap)) => Finding {
                truth: Truth::Unknown,
                words: format!("which files have changed is not known ({gap})"),
            },
            (None, None) => Finding::new(false, format!("no file {which} has changed")),
        }
    }
}

/// Aliases are the same in capital and in small letters, as their variables are.
fn is_one_of(alias: &str, others: &[String]) -> bool {
    others.iter().any(|other| other.eq_ignore_ascii_case(alias))
}

/// What is said of a build that follows none of these; an alias that the file does not have is most often a slip.
fn follows_none(aliases: &[String], known: &[String]) -> String {
    let words = format!("it follows no build of {}", some(aliases.iter().map(String::as_str)));
    let unknown: Vec<&str> =
        aliases.iter().filter(|alias| !is_one_of(alias, known)).map(String::as_str).collect();
    if unknown.is_empty() {
        return words;
    }
    format!("{words} (no subscription of this file is called {})", some(unknown.into_iter()))
}

fn value_of<'v>(facts: &'v Facts, fact: &Fact, scene: &'v Scene<'_>) -> &'v str {
    match fact {
        Fact::Branch => &facts.branch,
        Fact::Tag => &facts.tag,
        Fact::Event => facts.event.as_str(),
        Fact::AuthorId => &facts.author_id,
        Fact::Message => facts.messages.first().map_or("", String::as_str),
        Fact::Env(name) => scene.variable(name),
    }
}

/// The first bytes of a text, whole characters.
fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn named(fact: &Fact, value: &str) -> String {
    format!("{} {}", fact.name(), if value.is_empty() { "(empty)".to_owned() } else { shown(value) })
}

fn named_is(fact: &Fact, value: &str) -> String {
    match (fact, value) {
        (Fact::Tag, "") => "there is no tag".to_owned(),
        (fact, "") => format!("{} is empty", fact.name()),
        (fact, value) => format!("{} is {}", fact.name(), shown(value)),
    }
}
