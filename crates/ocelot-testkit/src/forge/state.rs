//! What a fake forge remembers, in no language.

use std::collections::{BTreeMap, HashMap, VecDeque};

use sha2::{Digest as _, Sha256};

use super::server::Fault;

#[derive(Debug)]
pub(super) struct State {
    /// Its own address.
    pub(super) url: String,
    /// Where its repositories are cloned from, when not from itself.
    pub(super) clones: Option<String>,
    pub(super) repos: Vec<Repo>,
    pub(super) faults: VecDeque<Fault>,
    /// What it does instead of answering whatever has this in its path.
    pub(super) always: Option<(&'static str, Fault)>,
    pub(super) requests: Vec<String>,
    /// Entries of a page.
    pub(super) page: usize,
    /// Tokens that it gave out, and the account that they are good for (empty: all).
    pub(super) tokens: Vec<(String, String)>,
    /// Seconds that they last.
    pub(super) life: u64,
    pub(super) app: Option<App>,
    pub(super) installations: Vec<(u64, String)>,
    last_id: u64,
}

#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) id: String,
    pub(super) public_key: String,
}

impl State {
    pub(super) fn new(url: String) -> State {
        State {
            url,
            clones: None,
            repos: Vec::new(),
            faults: VecDeque::new(),
            always: None,
            requests: Vec::new(),
            page: 100,
            tokens: Vec::new(),
            life: 7200,
            app: None,
            installations: Vec::new(),
            last_id: 1000,
        }
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn repo(&mut self, full_name: &str) -> Option<&mut Repo> {
        self.repos.iter_mut().find(|repo| repo.full_name == full_name)
    }
}

#[derive(Debug)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) full_name: String,
    pub(super) commits: HashMap<String, Commit>,
    pub(super) branches: BTreeMap<String, String>,
    pub(super) pulls: Vec<Pull>,
    /// How often a pull request was changed.
    changes: HashMap<u64, u32>,
    pub(super) statuses: Vec<Status>,
    pub(super) comments: Vec<Comment>,
    pub(super) hooks: Vec<Hook>,
    /// Number and name of an account, and what it may do.
    pub(super) rights: Vec<(u64, String, &'static str)>,
}

#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) message: String,
    pub(super) files: BTreeMap<String, String>,
    pub(super) parent: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) text: String,
}

/// An open pull request.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Number of the repository that its commits come from; `None` when that is gone.
    pub source: Option<u64>,
    /// The branch there.
    pub branch: String,
    /// Its newest commit.
    pub commit: String,
    /// The branch that it is to be merged into.
    pub target: String,
}

/// A status as it was told, in the forge's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whole id.
    pub commit: String,
    /// What tells it apart from others.
    pub context: String,
    /// The forge's word.
    pub state: String,
    /// One sentence.
    pub description: String,
    /// The build's page.
    pub link: String,
}

/// A webhook as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The forge's id of it.
    pub id: String,
    /// Where it sends.
    pub url: String,
    /// What it signs with.
    pub secret: String,
    /// What it tells, in the forge's words.
    pub events: Vec<String>,
    /// The forge uses it.
    pub active: bool,
    /// How often the forge was asked to try it.
    pub pings: usize,
}

/// What lies between two commits.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// Old and new path of each changed file.
    pub(super) files: Vec<(Option<String>, Option<String>)>,
    /// The commits, oldest first.
    pub(super) commits: Vec<String>,
}

impl Repo {
    pub(super) fn new(id: u64, full_name: &str) -> Repo {
        Repo {
            id,
            full_name: full_name.to_owned(),
            commits: HashMap::new(),
            branches: BTreeMap::new(),
            pulls: Vec::new(),
            changes: HashMap::new(),
            statuses: Vec::new(),
            comments: Vec::new(),
            hooks: Vec::new(),
            rights: Vec::new(),
        }
    }

    pub(super) fn commit(&mut self, branch: &str, message: &str, changes: &[(&str, Option<&str>)]) -> String {
        let parent = self.branches.get(branch).cloned();
        let mut files = parent.as_ref().map(|parent| self.commits[parent].files.clone()).unwrap_or_default();
        for (path, text) in changes {
            match text {
                Some(text) => files.insert((*path).to_owned(), (*text).to_owned()),
                None => files.remove(*path),
            };
        }
        let seed = format!("{} {branch} {message} {}", self.full_name, self.commits.len());
        let id = hex(&Sha256::digest(seed))[..40].to_owned();
        self.commits.insert(id.clone(), Commit { message: message.to_owned(), files, parent });
        self.branches.insert(branch.to_owned(), id.clone());
        id
    }

    /// What a pull request was is no more.
    pub(super) fn change(&mut self, number: u64) {
        self.pulls.retain(|pull| pull.number != number);
        *self.changes.entry(number).or_default() += 1;
    }

    /// When a pull request was changed last.
    pub(super) fn changed_at(&self, number: u64) -> String {
        format!("2026-01-01T00:00:{:02}Z", self.changes.get(&number).unwrap_or(&0))
    }

    /// The commit that a branch or the beginning of an id names.
    pub(super) fn find(&self, name: &str) -> Option<(&String, &Commit)> {
        let id = self.branches.get(name);
        let id = id.or_else(|| self.commits.keys().find(|id| name.len() >= 7 && id.starts_with(name)))?;
        self.commits.get_key_value(id)
    }

    pub(super) fn file(&self, commit: &str, path: &str) -> Option<String> {
        self.find(commit)?.1.files.get(path).cloned()
    }

    pub(super) fn between(&self, before: &str, after: &str) -> Option<Between> {
        let (before, old) = self.find(before)?;
        let (after, new) = self.find(after)?;
        let mut between = Between::default();
        let mut at = Some(after);
        while let Some(id) = at.filter(|id| *id != before) {
            between.commits.insert(0, id.clone());
            at = self.commits[id].parent.as_ref();
        }
        let gone = |path: &&String| !new.files.contains_key(*path);
        for (path, text) in &new.files {
            match old.files.get(path) {
                Some(same) if same == text => {}
                Some(_) => between.files.push((Some(path.clone()), Some(path.clone()))),
                None => {
                    // The same text under another name: it was renamed.
                    let from = old.files.iter().find(|(name, old)| gone(name) && *old == text);
                    between.files.push((from.map(|(name, _)| name.clone()), Some(path.clone())));
                }
            }
        }
        for path in old.files.keys().filter(gone) {
            if !between.files.iter().any(|(from, _)| from.as_ref() == Some(path)) {
                between.files.push((Some(path.clone()), None));
            }
        }
        Some(between)
    }

    /// Old and new path of each file that a pull request changes, from where it left the branch that it goes to.
    pub(super) fn pull_files(&self, number: &str) -> Option<Vec<(Option<String>, Option<String>)>> {
        let pull = self.pulls.iter().find(|pull| pull.number.to_string() == number)?;
        let mut at = Some(self.find(&pull.target)?.0);
        let mut there = Vec::new();
        while let Some(id) = at {
            there.push(id);
            at = self.commits[id].parent.as_ref();
        }
        let mut base = Some(self.find(&pull.commit)?.0);
        while let Some(id) = base.filter(|id| !there.contains(id)) {
            base = self.commits[id].parent.as_ref();
        }
        Some(self.between(base?, &pull.commit)?.files)
    }

    pub(super) fn name(&self) -> &str {
        self.full_name.rsplit('/').next().unwrap_or_default()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
