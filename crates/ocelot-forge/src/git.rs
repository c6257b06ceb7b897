//! Plain git: which commit a branch is at, and a file and the message of a commit.
//!
//! Uses the git program with a bare cache per URL below `mirrors-server` in the data folder, which
//! holds single commits without their history. Never checks anything out.

mod caches;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use ocelot_model::event::is_commit;
use ocelot_model::login::{Login, Way};
use ocelot_model::roots;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::batch;
use crate::error::GitError;
use crate::key_file::KeyFile;
use crate::url::{self, Access, Allowed, CloneUrl};
use crate::{hex, process};

/// The largest file that is read of a commit; one byte more is read to show that there is more.
pub const FILE_MAX: usize = 256 << 10;
/// What is fetched may be large: all of a history, or all files of one commit.
const FETCH_TIME: Duration = Duration::from_mins(2);

/// The depth that git takes for all of a history.
const ALL: u32 = i32::MAX.cast_unsigned();

/// What is read of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The file's bytes, at most [`FILE_MAX`] + 1; `None` when the commit has no such file.
    pub file: Option<Vec<u8>>,
    /// Message of the commit.
    pub message: String,
    /// Author of the commit, without the address.
    pub author: String,
}

/// Repositories as git sees them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Git(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Keys of the hosts that were met over ssh.
    known_hosts: PathBuf,
    allowed: Allowed,
    prepared: OnceCell<()>,
    /// One fetch per cache at a time. An entry lives as long as someone uses it.
    busy: Mutex<HashMap<PathBuf, std::sync::Weak<tokio::sync::Mutex<()>>>>,
}

impl Git {
    /// Keeps its files below `data`; `allow_local` permits `file://` and absolute paths.
    pub fn new(data: &Path, allow_local: bool) -> Git {
        Git::with(data, Allowed { local: allow_local, insecure_http: false })
    }

    /// Like [`Git::new`], and plain `http://` to any host is permitted when `insecure_http` is set.
    pub fn with_http(data: &Path, allow_local: bool, insecure_http: bool) -> Git {
        Git::with(data, Allowed { local: allow_local, insecure_http })
    }

    fn with(data: &Path, allowed: Allowed) -> Git {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        // Keys that a server which was killed has left.
        let _ = std::fs::remove_dir_all(data.join("mirrors-server/keys"));
        Git(Arc::new(Inner {
            folder: data.join("mirrors-server"),
            known_hosts: data.join("known_hosts"),
            allowed,
            prepared: OnceCell::new(),
            busy: Mutex::default(),
        }))
    }

    /// The only way to a [`CloneUrl`]; the error says what to do.
    pub fn check_url(&self, text: &str) -> Result<CloneUrl, GitError> {
        url::check(text, self.0.allowed).map_err(GitError::BadUrl)
    }

    /// The same URL with who Ocelot is there. A key lies in a file of its own for as long as the answer lives.
    pub fn with_login(&self, url: CloneUrl, login: Login) -> Result<CloneUrl, GitError> {
        let key = match &login.way {
            Way::Key(key) => Some(KeyFile::new(&self.keys(), key).map_err(GitError::Io)?),
            Way::Password { .. } => None,
        };
        Ok(url.with(Access { login, key }))
    }

    /// The same URL, whose host is believed with these authorities (PEM) too. Only `https` asks for any.
    pub fn with_ca(&self, url: CloneUrl, ca: &str) -> Result<CloneUrl, GitError> {
        if url.scheme() != url::Scheme::Https {
            return Ok(url);
        }
        let file = KeyFile::new(&self.keys(), &roots::with_public(ca)).map_err(GitError::Io)?;
        Ok(url.believed(file))
    }

    fn keys(&self) -> PathBuf {
        self.0.folder.join("keys")
    }

    /// The branch that the repository's HEAD names.
    pub async fn default_branch(&self, url: &CloneUrl) -> Result<String, GitError> {
        let out = self.ls_remote(url, &["--symref"], &["HEAD"]).await?;
        out.lines()
            .find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD").map(str::to_owned))
            .ok_or_else(|| GitError::NoDefaultBranch(url.to_string()))
    }

    /// All branches, and the commit that each is at.
    pub async fn heads(&self, url: &CloneUrl) -> Result<BTreeMap<String, String>, GitError> {
        let out = self.ls_remote(url, &["--heads"], &[]).await?;
        let branch =
            |(id, name): (&str, &str)| Some((name.strip_prefix("refs/heads/")?.to_owned(), id.to_owned()));
        Ok(refs(&out).filter(|(id, _)| is_commit(id)).filter_map(branch).collect())
    }

    /// The commit that `branch` is at, and what [`Git::read`] reads of it, in one call to the server.
    pub async fn head(
        &self,
        url: &CloneUrl,
        branch: &str,
        path: &str,
    ) -> Result<(String, Snapshot), GitError> {
        let none = || GitError::NoBranch { branch: branch.to_owned(), url: url.to_string() };
        // `*` and the like would make a pattern of it.
        let odd = |c: char| c.is_control() || " *?[:~^\\".contains(c);
        if branch.is_empty() || branch.len() > 500 || branch.chars().any(odd) {
            return Err(none());
        }
        let cache = self.0.folder.join(key(url));
        let guard = self.lock(&cache);
        let _one = guard.lock().await;
        let new = !is_there(&cache).await;
        let mut found = self.newest(url, &cache, branch, path).await;
        if !new && self.start_over(url, &cache, &found).await? {
            found = self.newest(url, &cache, branch, path).await;
        }
        found?.ok_or_else(none)
    }

    /// Fetches and reads the newest commit of `branch`; `None` when it cannot be read afterwards.
    async fn newest(
        &self,
        url: &CloneUrl,
        cache: &Path,
        branch: &str,
        path: &str,
    ) -> Result<Option<(String, Snapshot)>, GitError> {
        let none = || GitError::NoBranch { branch: branch.to_owned(), url: url.to_string() };
        let wanted = format!("refs/heads/{branch}");
        self.prepare().await?;
        if !is_there(cache).await {
            // Which kind of ids the repository has is known only from one of them.
            let out = self.ls_remote(url, &[], &[&wanted]).await?;
            let (commit, _) = refs(&out).find(|(_, name)| *name == wanted).ok_or_else(none)?;
            self.init(cache, url, commit).await?;
        }
        match self.fetch(url, cache, &[&format!("+{wanted}:refs/ocelot/newest")], 1).await {
            Err(GitError::Failed(words)) if is_no_branch(&words) => Err(none()),
            Err(error) => Err(error),
            Ok(()) => self.look(url, cache, "refs/ocelot/newest", path).await,
        }
    }

    /// The whole id of the commit that begins with `begin`: `branch` is at it, or another branch.
    pub async fn resolve(&self, url: &CloneUrl, begin: &str, branch: &str) -> Result<String, GitError> {
        let out = self.ls_remote(url, &["--heads"], &[]).await?;
        let mut heads: Vec<(&str, &str)> = refs(&out).filter(|(id, _)| id.starts_with(begin)).collect();
        heads.sort_by_key(|(_, name)| name.strip_prefix("refs/heads/") != Some(branch));
        let none = || GitError::NoCommit { commit: begin.to_owned(), url: url.to_string() };
        heads.first().map(|(id, _)| (*id).to_owned()).ok_or_else(none)
    }

    /// The branch or tag that reaches `commit`: `prefer` when it is one of them, then any branch,
    /// then any tag. `None` when no one reaches it.
    pub async fn contains(
        &self,
        url: &CloneUrl,
        commit: &str,
        prefer: &str,
    ) -> Result<Option<String>, GitError> {
        let out = self.ls_remote(url, &["--heads", "--tags"], &[]).await?;
        let heads = refs(&out).filter(|(id, _)| *id == commit).map(|(_, name)| name.to_owned()).collect();
        if let Some(name) = choose(heads, prefer) {
            return Ok(Some(name));
        }
        let cache = self.0.folder.join(format!("{}.history", key(url)));
        let guard = self.lock(&cache);
        let _one = guard.lock().await;
        self.init(&cache, url, commit).await?;
        let mut fetch = self.command(Some(url), &cache);
        fetch.args(["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--end-of-options"]);
        fetch.args([url.as_str(), "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]);
        self.fit(&cache, process::run_for(&mut fetch, FETCH_TIME, url).await).await?;
        let mut ask = self.command(None, &cache);
        ask.args(["for-each-ref", "--format=%(refname)", &format!("--contains={commit}")]);
        match process::run(ask, url).await {
            Ok(names) => {
                let names = String::from_utf8_lossy(&names).lines().map(str::to_owned).collect();
                Ok(choose(names, prefer))
            }
            // It does not know the commit.
            Err(GitError::Failed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file `path` of `commit`, and who made the commit with which words. Fetches that one
    /// commit when it is not in the cache; `branch` is where to look when the server gives out
    /// nothing but branches.
    pub async fn read(
        &self,
        url: &CloneUrl,
        commit: &str,
        branch: &str,
        path: &str,
    ) -> Result<Snapshot, GitError> {
        if !is_commit(commit) {
            return Err(GitError::NoCommit { commit: commit.to_owned(), url: url.to_string() });
        }
        let cache = self.0.folder.join(key(url));
        // Damage is found again, and mended, below.
        if let Ok(Some((_, found))) = self.look(url, &cache, commit, path).await {
            return Ok(found);
        }
        let guard = self.lock(&cache);
        let _one = guard.lock().await;
        let none = || GitError::NoCommit { commit: commit.to_owned(), url: url.to_string() };
        let new = !is_there(&cache).await;
        let mut found = self.one(url, &cache, commit, branch, path).await;
        if !new && self.start_over(url, &cache, &found).await? {
            found = self.one(url, &cache, commit, branch, path).await;
        }
        found?.map(|(_, found)| found).ok_or_else(none)
    }

    /// Paths of the files that differ between two commits, of which `to` was read before. `from` is fetched when it is
    /// not in the cache.
    pub async fn changed(&self, url: &CloneUrl, from: &str, to: &str) -> Result<Vec<String>, GitError> {
        if let Some(bad) = [from, to].into_iter().find(|commit| !is_commit(commit)) {
            return Err(GitError::NoCommit { commit: bad.to_owned(), url: url.to_string() });
        }
        let cache = self.0.folder.join(key(url));
        let guard = self.lock(&cache);
        let _one = guard.lock().await;
        match self.differences(url, &cache, from, to).await {
            // Perhaps it does not know `from`.
            Err(GitError::Failed(_)) => {}
            other => return other,
        }
        self.fetch(url, &cache, &[from], 1).await?;
        self.differences(url, &cache, from, to).await
    }

    async fn differences(
        &self,
        url: &CloneUrl,
        cache: &Path,
        from: &str,
        to: &str,
    ) -> Result<Vec<String>, GitError> {
        let mut command = self.command(None, cache);
        command.args(["diff-tree", "-r", "--name-only", "--no-renames", "-z", "--end-of-options", from, to]);
        let out = process::run(command, url).await?;
        let paths = out.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
    }

    /// Fetches and reads one commit; `None` when it cannot be read afterwards.
    async fn one(
        &self,
        url: &CloneUrl,
        cache: &Path,
        commit: &str,
        branch: &str,
        path: &str,
    ) -> Result<Option<(String, Snapshot)>, GitError> {
        self.init(cache, url, commit).await?;
        match self.fetch(url, cache, &[commit], 1).await {
            // Hosts may refuse to give out what has no name.
            Err(GitError::Failed(_)) => {}
            other => {
                other?;
                return self.look(url, cache, commit, path).await;
            }
        }
        // By the branch, a part of its history; then by all names, all of it.
        let one = format!("refs/heads/{branch}");
        let all = ["+refs/heads/*:refs/ocelot/heads/*", "+refs/tags/*:refs/ocelot/tags/*"];
        for (names, depth) in [(&[one.as_str()][..], 100), (&all, ALL)] {
            match self.fetch(url, cache, names, depth).await {
                Err(GitError::Failed(words)) if is_no_branch(&words) => {}
                other => other?,
            }
            if let Some(found) = self.look(url, cache, commit, path).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Throws the cache away when `found` makes it doubtful, and says whether it did: what a crash has damaged is not
    /// worth mending. A repository that does not answer is no sign of damage: what is known of it stays.
    async fn start_over(
        &self,
        url: &CloneUrl,
        cache: &Path,
        found: &Result<Option<(String, Snapshot)>, GitError>,
    ) -> Result<bool, GitError> {
        let doubtful = matches!(found, Ok(None) | Err(GitError::Failed(_)));
        if !doubtful || self.ls_remote(url, &[], &["HEAD"]).await.is_err() {
            return Ok(false);
        }
        tokio::fs::remove_dir_all(cache).await.map_err(GitError::Io)?;
        Ok(true)
    }

    /// What the cache has of `commit`, an id or the name of a ref, and its id.
    async fn look(
        &self,
        url: &CloneUrl,
        cache: &Path,
        commit: &str,
        path: &str,
    ) -> Result<Option<(String, Snapshot)>, GitError> {
        if !is_there(cache).await {
            return Ok(None);
        }
        let mut command = self.command(None, cache);
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stderr(Stdio::null());
        tokio::time::timeout(process::TIME, batch::read(command, commit, path))
            .await
            .map_err(|_| GitError::Timeout { url: url.to_string(), seconds: process::TIME.as_secs() })?
    }

    async fn fetch(&self, url: &CloneUrl, cache: &Path, what: &[&str], depth: u32) -> Result<(), GitError> {
        let mut command = self.command(Some(url), cache);
        // Not worth waiting for the disk: a damaged cache of single commits is made anew.
        command.args(["-c", "core.fsync=none", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]);
        command.arg("--no-recurse-submodules");
        if what.iter().any(|refs| refs.contains('*')) {
            // A branch that is gone may stand where a folder of branches is now.
            command.arg("--prune");
        }
        command.args([&format!("--depth={depth}"), "--end-of-options", url.as_str()]).args(what);
        self.fit(cache, process::run_for(&mut command, FETCH_TIME, url).await).await
    }

    async fn ls_remote(&self, url: &CloneUrl, flags: &[&str], patterns: &[&str]) -> Result<String, GitError> {
        self.prepare().await?;
        let mut command = self.git(Some(url));
        command.current_dir(&self.0.folder).arg("ls-remote").arg("--quiet").args(flags);
        command.args(["--end-of-options", url.as_str()]).args(patterns);
        let out = process::run(command, url).await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn command(&self, url: Option<&CloneUrl>, cache: &Path) -> Command {
        let mut command = self.git(url);
        command.current_dir(cache).env("GIT_DIR", cache);
        command
    }

    fn git(&self, url: Option<&CloneUrl>) -> Command {
        process::git(&self.config(), &self.0.known_hosts, url)
    }

    fn config(&self) -> PathBuf {
        self.0.folder.join("gitconfig")
    }

    /// Makes the folder and the configuration that all git processes share, once.
    async fn prepare(&self) -> Result<(), GitError> {
        // A local repository may belong to another user of this machine: the admin allowed it.
        let safe = if self.0.allowed.local { "[safe]\n\tdirectory = *\n" } else { "" };
        let text = format!(
            "{safe}[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[core]\n\thooksPath = /dev/null\n\
             [credential]\n\thelper =\n[transfer]\n\tfsckObjects = true\n[fetch]\n\twriteCommitGraph = false\n"
        );
        let work = async {
            tokio::fs::create_dir_all(&self.0.folder).await?;
            tokio::fs::write(self.config(), text).await
        };
        self.0.prepared.get_or_try_init(|| work).await.copied().map_err(GitError::Io)
    }

    async fn init(&self, cache: &Path, url: &CloneUrl, commit: &str) -> Result<(), GitError> {
        self.prepare().await?;
        if is_there(cache).await {
            return Ok(());
        }
        let mut command = self.git(None);
        command.current_dir(&self.0.folder).args(["init", "--quiet", "--bare", "--template="]);
        command.arg(if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" });
        command.arg("--end-of-options").arg(cache);
        self.fit(cache, process::run(command, url).await).await
    }

    fn lock(&self, cache: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = busy.get(cache).and_then(std::sync::Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        busy.insert(cache.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// Git's words for a branch that is not there, or whose name is none.
fn is_no_branch(words: &str) -> bool {
    words.contains("couldn't find remote ref") || words.contains("invalid refspec")
}

async fn is_there(cache: &Path) -> bool {
    tokio::fs::try_exists(cache.join("HEAD")).await.unwrap_or(false)
}

/// Name of the cache of a URL.
fn key(url: &CloneUrl) -> String {
    hex::encode(&Sha256::digest(url.as_str()))
}

/// Ids and names of what `ls-remote` printed; a tag's own object is shown by its commit (`^{}`).
fn refs(out: &str) -> impl Iterator<Item = (&str, &str)> {
    out.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(id, name)| (id, name.strip_suffix("^{}").unwrap_or(name)))
}

fn choose(mut names: Vec<String>, prefer: &str) -> Option<String> {
    names.sort_by_key(|name| {
        (name.strip_prefix("refs/heads/") != Some(prefer), name.starts_with("refs/tags/"))
    });
    let first = names.into_iter().next()?;
    let short = first.strip_prefix("refs/heads/").or(first.strip_prefix("refs/tags/"));
    short.map(str::to_owned)
}
