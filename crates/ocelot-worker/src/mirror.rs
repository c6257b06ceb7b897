//! Bare mirrors of the repositories that were built: one folder for each clone URL, one lock for each folder.
//!
//! A mirror only ever serves [`crate::workspace`]; no job sees it.

mod clean;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ocelot_model::pipeline::Checkout;
use sha2::{Digest, Sha256};

use crate::executor::SetupLog;
use crate::git::{Access, GitError, Ways, git};
use crate::setup::line;

/// All mirrors of this worker.
#[derive(Debug)]
pub(crate) struct Mirrors {
    folder: PathBuf,
    locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Mirrors that the server is told of, at most.
const TOLD: usize = 1_000;
/// So many digits of a mirror's name tell it from others.
const DIGITS: usize = 16;

/// The names of the mirrors below `folder`, as the server knows them.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = found.filter_map(|entry| entry.file_name().into_string().ok());
    // One that is being deleted is none.
    let names = names.filter(|name| !name.starts_with('.')).map(|name| name.chars().take(DIGITS).collect());
    let mut names: Vec<String> = names.take(TOLD).collect();
    names.sort_unstable();
    names
}

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Where from.
    pub(crate) url: &'a str,
    /// 40 or 64 hexadecimal digits.
    pub(crate) commit: &'a str,
    /// The branch that should lead there.
    pub(crate) branch: &'a str,
    /// How much history.
    pub(crate) checkout: &'a Checkout,
    /// `file://` and local paths may be used.
    pub(crate) allow_local: bool,
    /// Keys of the hosts that were met over ssh: a file, made when the first one is.
    pub(crate) known_hosts: &'a Path,
    /// Who Ocelot is there.
    pub(crate) access: Option<Access<'a>>,
    /// The file with the authorities that the host is believed with; git's own when `None`.
    pub(crate) ca: Option<&'a Path>,
}

/// A mirror that has the wanted commit, held until it was copied from.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Its folder.
    pub(crate) path: PathBuf,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl Mirrors {
    /// Mirrors below `folder`, which is made when the first one is.
    pub(crate) fn new(folder: PathBuf) -> Mirrors {
        Mirrors { folder, locks: Mutex::default() }
    }

    /// A mirror with the commit and enough of its history; `say` gets lines for people.
    pub(crate) async fn fetch(&self, wanted: Wanted<'_>, say: &SetupLog) -> Result<Mirror, GitError> {
        check(&wanted)?;
        let name = hex(&Sha256::digest(wanted.url));
        let held = self.lock(&name).lock_owned().await;
        let path = self.folder.join(name);
        remove_locks(&path).map_err(GitError::io("cannot free the mirror"))?;
        let done = match fetch(&path, wanted).await {
            // Git leaves files behind for which there was no room, which would keep the disk full.
            Err(error) if error.is_full_disk() => {
                if let Err(why) = git(&path, Ways::None, &["prune", "--expire=now"]).await {
                    tracing::warn!("what git left in the mirror {} stays: {why}", path.display());
                }
                Err(error)
            }
            // What git cannot read any more is not worth mending.
            Err(error) if path.join("HEAD").exists() && is_corrupt(&error.words) => {
                line(say, &format!("The mirror is damaged ({error}); starting over")).await;
                start_over(&path, wanted).await
            }
            done => done,
        };
        done.map(|()| {
            clean::mark(&path);
            Mirror { path, _held: held }
        })
    }

    /// Throws the mirror away and fetches again: for when copying from it has failed.
    pub(crate) async fn again(&self, mirror: Mirror, wanted: Wanted<'_>) -> Result<Mirror, GitError> {
        start_over(&mirror.path, wanted).await?;
        Ok(mirror)
    }

    /// Puts small packs together when there are many. Costs a few milliseconds when there is nothing to do.
    pub(crate) async fn tidy(&self, url: &str) {
        let name = hex(&Sha256::digest(url));
        let Ok(_held) = self.lock(&name).try_lock_owned() else { return };
        let path = self.folder.join(name);
        if path.join("HEAD").exists() {
            let args = ["-c", "gc.auto=2000", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"];
            if let Err(error) = git(&path, Ways::None, &args).await {
                tracing::warn!("the mirror {} could not be tidied: {error}", path.display());
            }
        }
    }

    fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// Refuses what could be taken for something else than a commit and a place.
fn check(wanted: &Wanted<'_>) -> Result<(), GitError> {
    let commit = wanted.commit;
    if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(GitError::definite(format!("`{commit}` is no whole commit id")));
    }
    if wanted.url.is_empty() || wanted.url.starts_with('-') || wanted.url.contains(char::is_control) {
        return Err(GitError::definite("the clone URL cannot be used"));
    }
    Ok(())
}

/// Removes what a killed git has left: the mirror is ours alone, so nobody holds these files any more.
fn remove_locks(path: &Path) -> std::io::Result<()> {
    for name in ["shallow.lock", "packed-refs.lock", "HEAD.lock", "config.lock", "gc.pid"] {
        match fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // One name for each commit that was fetched; a lock stands beside the name.
    let Ok(refs) = fs::read_dir(path.join("refs/ocelot")) else { return Ok(()) };
    for entry in refs.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "lock")) {
        fs::remove_file(entry.path())?;
    }
    Ok(())
}

async fn start_over(path: &Path, wanted: Wanted<'_>) -> Result<(), GitError> {
    crate::folder::remove_if_there(path).map_err(GitError::io("cannot remove the mirror"))?;
    fetch(path, wanted).await
}

async fn fetch(path: &Path, wanted: Wanted<'_>) -> Result<(), GitError> {
    let depth = wanted.checkout.depth;
    let new = !path.join("HEAD").exists();
    if new {
        create(path, wanted.commit.len() == 64).map_err(GitError::io("cannot make the mirror"))?;
    }
    let kept = !new && keeps(path, wanted.commit);
    if kept && is_deep_enough(path, wanted.commit, depth).await? {
        return Ok(());
    }
    let shallow = path.join("shallow").exists();
    let history = match depth {
        0 if shallow => Some("--unshallow".to_owned()),
        0 => None,
        _ if new || !has_any(path) => Some(format!("--depth={depth}")),
        // Without a depth, what is known stays as deep as it is and only what is new comes.
        _ if !kept => None,
        _ => Some(format!("--deepen={depth}")),
    };
    fetch_commit(path, wanted, history.as_deref()).await?;
    // A branch that is new to a shallow mirror may reach less far back than asked for.
    if history.is_none() && !is_deep_enough(path, wanted.commit, depth).await? {
        fetch_commit(path, wanted, Some(&format!("--deepen={depth}"))).await?;
    }
    Ok(())
}

/// By its id; where the host gives out only what has a name, by the branch, then by all names, then by all of
/// their history: the commit may be further back than is wanted of it.
async fn fetch_commit(path: &Path, wanted: Wanted<'_>, history: Option<&str>) -> Result<(), GitError> {
    let Wanted { commit, branch, .. } = wanted;
    let by_id = pull(path, wanted, history, &[&format!("+{commit}:refs/ocelot/{commit}")]).await;
    let Err(refused) = by_id else { return Ok(()) };
    if refused.infrastructure || !is_refusal(&refused.words) {
        return Err(refused);
    }
    let one = format!("+refs/heads/{branch}:refs/ocelot/branch");
    let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
    for (names, whole) in [(&[one.as_str()][..], false), (&all, false), (&all, true)] {
        let unshallow = path.join("shallow").exists().then_some("--unshallow");
        match pull(path, wanted, if whole { unshallow } else { history }, names).await {
            Err(error) if error.infrastructure => return Err(error),
            Err(_) | Ok(()) => {}
        }
        if has(path, commit).await {
            let name = format!("refs/ocelot/{commit}");
            return git(path, Ways::None, &["update-ref", "--end-of-options", &name, commit]).await.map(drop);
        }
    }
    Err(refused)
}

async fn pull(path: &Path, wanted: Wanted<'_>, history: Option<&str>, refs: &[&str]) -> Result<(), GitError> {
    let mut args = vec!["fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head"];
    args.extend(history);
    let ways = ways(&wanted);
    if ways == Ways::Local {
        // The admin allowed local repositories; who owns them does not matter then.
        args.push("--upload-pack=git -c 'safe.directory=*' upload-pack");
    }
    if refs.iter().any(|refs| refs.contains('*')) {
        // A branch that is gone may stand where a folder of branches is now.
        args.push("--prune");
    }
    args.extend(["--end-of-options", wanted.url]);
    args.extend(refs);
    let told = git(path, ways, &args).await;
    told.map(drop).map_err(|error| GitError { words: without_password(&error.words, wanted.url), ..error })
}

/// An empty bare repository that gives out any commit.
fn create(path: &Path, sha256: bool) -> std::io::Result<()> {
    crate::folder::remove_if_there(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let more = "[uploadpack]\n\tallowAnySHA1InWant = true\n";
    write_empty(path, &config(true, sha256, more))
}

/// What `git init` makes, without its templates and without a process.
pub(crate) fn write_empty(path: &Path, config: &str) -> std::io::Result<()> {
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        fs::create_dir_all(path.join(folder))?;
    }
    fs::write(path.join("config"), config)?;
    // Last: a folder with a HEAD is whole.
    fs::write(path.join("HEAD"), "ref: refs/heads/main\n")
}

/// A repository's configuration file.
pub(crate) fn config(bare: bool, sha256: bool, more: &str) -> String {
    let (version, extension) = if sha256 { (1, "[extensions]\n\tobjectformat = sha256\n") } else { (0, "") };
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = {bare}\n{extension}{more}"
    )
}

/// Whether the commit has the name that only a whole fetch gives. Read from git's files, to save a process.
fn keeps(path: &Path, commit: &str) -> bool {
    let name = format!("refs/ocelot/{commit}");
    let packed = || fs::read_to_string(path.join("packed-refs")).is_ok_and(|refs| refs.contains(&name));
    path.join(&name).exists() || packed()
}

/// Whether the mirror has the commit, whatever led to it.
async fn has(path: &Path, commit: &str) -> bool {
    let object = format!("{commit}^{{commit}}");
    git(path, Ways::None, &["cat-file", "-e", &object]).await.is_ok()
}

/// Whether anything was ever fetched.
fn has_any(path: &Path) -> bool {
    path.join("packed-refs").exists()
        || fs::read_dir(path.join("refs/ocelot")).is_ok_and(|mut refs| refs.next().is_some())
}

/// Whether `depth` commits of history are there, or all of them.
async fn is_deep_enough(path: &Path, commit: &str, depth: u32) -> Result<bool, GitError> {
    let Ok(shallow) = fs::read_to_string(path.join("shallow")) else { return Ok(true) };
    if depth == 0 {
        return Ok(false);
    }
    let said = git(path, Ways::None, &["rev-list", &format!("--max-count={depth}"), commit, "--"]).await?;
    let listed = said.out.lines().count() as u32;
    let cut = said.out.lines().any(|line| shallow.lines().any(|border| border == line));
    Ok(listed >= depth || !cut)
}

/// The ways that a clone URL may go. An address that is no URL of a known kind is a local path.
fn ways<'a>(wanted: &Wanted<'a>) -> Ways<'a> {
    let lower = wanted.url.to_ascii_lowercase();
    let local = lower.starts_with("file://") || lower.starts_with(['/', '.']);
    if local && wanted.allow_local {
        Ways::Local
    } else {
        Ways::Net {
            plain: lower.starts_with("http://"),
            known_hosts: wanted.known_hosts,
            access: wanted.access,
            ca: wanted.ca,
        }
    }
}

/// The host does not give out commits that are no branch's head, or has no such commit.
fn is_refusal(words: &str) -> bool {
    ["not our ref", "unadvertised object", "couldn't find remote ref", "not advertised"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// Something that git wrote cannot be read any more.
fn is_corrupt(words: &str) -> bool {
    [
        "corrupt",
        "not a git repository",
        "bad object",
        "missing blob",
        "missing tree",
        "missing commit",
        "unable to read",
        "could not read",
        "bad config",
        "inflate",
        "does not match index",
        "unable to parse",
        "loose object",
        "packfile",
        "shallow file has changed",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

/// The URL as it may be shown and stored in a workspace: nobody's password in it.
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    match (scheme, user.split_once(':')) {
        // The user is part of the address there, and no secret.
        ("ssh" | "git+ssh", None) => url.to_owned(),
        ("ssh" | "git+ssh", Some((user, _))) => format!("{scheme}://{user}@{host}{path}"),
        (_, _) => format!("{scheme}://{host}{path}"),
    }
}

fn without_password(words: &str, url: &str) -> String {
    words.replace(url, &without_credentials(url))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_named_as_the_server_names_them() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(names(&folder.path().join("mirrors")), Vec::<String>::new());
        let name = hex(&Sha256::digest("https://example.com/example.git"));
        fs::create_dir(folder.path().join(name)).unwrap();
        assert_eq!(names(folder.path()), ["4e7bdbf825b6b572"]);
    }

    #[test]
    fn urls_without_credentials() {
        let check = |url: &str, want: &str| assert_eq!(without_credentials(url), want);
        check("https://host/a/b.git", "https://host/a/b.git");
        check("https://token@host/a", "https://host/a");
        check("https://user:pass@word@host:1/a@b", "https://host:1/a@b");
        check("ssh://git@host:22/a", "ssh://git@host:22/a");
        check("ssh://git:pw@host/a", "ssh://git@host/a");
        check("git@host:a/b", "git@host:a/b");
        check("/srv/a", "/srv/a");
    }

    #[test]
    fn ways_of_urls() {
        let (checkout, known_hosts) = (Checkout::default(), Path::new("/hosts"));
        let check = |url: &str, allow_local: bool, want: Ways<'_>| {
            let wanted = Wanted {
                url,
                commit: "",
                branch: "main",
                checkout: &checkout,
                allow_local,
                known_hosts,
                access: None,
                ca: None,
            };
            assert_eq!(ways(&wanted), want, "{url} {allow_local}");
        };
        let net = |plain| Ways::Net { plain, known_hosts, access: None, ca: None };
        check("https://host/a", true, net(false));
        check("HTTP://host/a", false, net(true));
        check("git@host:a", true, net(false));
        check("file:///srv/a", false, net(false));
        check("file:///srv/a", true, Ways::Local);
        check("/srv/a", true, Ways::Local);
        check("ext::sh -c id", true, net(false));
    }

    #[test]
    fn only_whole_commit_ids_and_plain_urls() {
        let checkout = Checkout::default();
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let case = |url: &str, commit: &str, want: bool| {
            let known_hosts = Path::new("/hosts");
            let wanted = Wanted {
                url,
                commit,
                branch: "main",
                checkout: &checkout,
                allow_local: true,
                known_hosts,
                access: None,
                ca: None,
            };
            assert_eq!(check(&wanted).is_ok(), want, "{url} {commit}");
        };
        case("https://host/a", sha, true);
        case("https://host/a", &sha[..39], false);
        case("https://host/a", "--upload-pack=touch /tmp/x; ............", false);
        case("--upload-pack=x", sha, false);
        case("https://host/a\n[core]", sha, false);
        case("", sha, false);
    }
}
