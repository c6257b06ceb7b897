//! The checkout: a whole repository of its own in the workspace, made from the mirror before any stage runs.
//!
//! Nothing in it is shared with the mirror (no links, no alternates), so a job can change all of it. After the
//! first stage has started, nobody here looks into the workspace again.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use ocelot_model::git::is_no_access;
use ocelot_model::pipeline::Checkout;

use crate::executor::{SetupLog, User};
use crate::git::{GitError, Ways, git};
use crate::mirror::{self, Mirrors, Wanted, config, without_credentials, write_empty};
use crate::setup::line;

/// Fetches and checks out into `folder`, which must be there and is emptied first. Answers the line that says what
/// stands there now, for example `Checked out 1234abc "message"`.
pub(crate) async fn check_out(
    mirrors: &Mirrors,
    wanted: Wanted<'_>,
    folder: &Path,
    say: &SetupLog,
) -> Result<String, GitError> {
    let mirror = mirrors.fetch(wanted, say).await?;
    match fill(folder, &mirror.path, wanted).await {
        // The mirror has just said that all is there, so whatever is wrong is wrong with it; but for the disk.
        Err(error) if !error.is_full_disk() => {
            line(say, &format!("The mirror is damaged ({error}); starting over")).await;
            let mirror = mirrors.again(mirror, wanted).await?;
            fill(folder, &mirror.path, wanted).await
        }
        done => done,
    }
}

async fn fill(folder: &Path, mirror: &Path, wanted: Wanted<'_>) -> Result<String, GitError> {
    empty(folder).map_err(GitError::io("cannot empty the workspace"))?;
    create(&folder.join(".git"), wanted).map_err(GitError::io("cannot make the workspace"))?;
    copy(folder, mirror, wanted).await?;
    let said =
        // No `--end-of-options`: git 2.39 takes it for a path here. The commit is hex digits, checked before.
        git(folder, Ways::None, &["checkout", "--force", "--detach", wanted.commit])
            .await?;
    Ok(describe(wanted.commit, &said.err))
}

/// The commit and its history, as much as is wanted, by way of git itself: only that gives an exact depth.
async fn copy(folder: &Path, mirror: &Path, wanted: Wanted<'_>) -> Result<(), GitError> {
    let Wanted { commit, branch, .. } = wanted;
    // Not every text that a forge calls a branch can be a name here: then the commit has none.
    match copy_as(folder, mirror, wanted, &format!("refs/remotes/origin/{branch}")).await {
        Err(error) if error.words.contains("invalid refspec") => {
            copy_as(folder, mirror, wanted, &format!("refs/ocelot/{commit}")).await
        }
        done => done,
    }
}

async fn copy_as(folder: &Path, mirror: &Path, wanted: Wanted<'_>, name: &str) -> Result<(), GitError> {
    let Checkout { depth, tags } = *wanted.checkout;
    let mut args: Vec<OsString> =
        ["fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head"].map(Into::into).into();
    if !tags {
        args.push("--no-tags".into());
    }
    if depth > 0 {
        args.push(format!("--depth={depth}").into());
    }
    let mut url = OsString::from("file://");
    url.push(mirror);
    args.extend(["--end-of-options".into(), url, format!("+{}:{name}", wanted.commit).into()]);
    git(folder, Ways::Local, &args).await.map(drop)
}

fn create(git_folder: &Path, wanted: Wanted<'_>) -> io::Result<()> {
    let url = without_credentials(wanted.url).replace('\\', "\\\\").replace('"', "\\\"");
    let remote = format!(
        "\tlogallrefupdates = true\n[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    );
    let sha256 = wanted.commit.len() == 64;
    // With an extension, `[core]` is not the last section any more.
    let remote = if sha256 { format!("[core]\n{remote}") } else { remote };
    write_empty(git_folder, &config(false, sha256, &remote))
}

/// From git's `HEAD is now at 1234abc message`.
fn describe(commit: &str, said: &str) -> String {
    let short = commit.get(..7).unwrap_or(commit);
    let told = said.lines().find_map(|line| line.strip_prefix("HEAD is now at "));
    match told.and_then(|told| told.split_once(' ')) {
        Some((_, message)) => format!("Checked out {short} \"{message}\""),
        None => format!("Checked out {short}"),
    }
}

/// Empties a folder that no job has used yet; the folder itself stays, for it may be mounted.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Gives a fresh checkout to `user`. Links are changed themselves, never what they lead to; that is enough as
/// long as nothing but this worker writes there, which is so before the first stage.
pub(crate) fn give(folder: &Path, user: User) -> io::Result<()> {
    lchown(folder, Some(user.uid), Some(user.gid))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), user)?;
        } else {
            lchown(entry.path(), Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}

/// The words for people when a checkout fails.
pub(crate) fn failure(wanted: &Wanted<'_>, error: &GitError) -> String {
    let words = match wanted.access {
        Some(access) if is_no_access(&error.words) => access.login.explain(&error.words),
        Some(_) | None => error.words.clone(),
    };
    format!("cannot check out {} from {}: {words}", wanted.commit, mirror::without_credentials(wanted.url))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;
    use std::process::Command;

    use ocelot_testkit::{Authority, Manners, SmallDisk, TlsFront, WebHost};
    use tokio::sync::mpsc;

    use super::*;
    use crate::condition::Disk;

    /// A repository to build from, and a worker's folder.
    struct Case {
        dir: tempfile::TempDir,
        mirrors: Mirrors,
        workspaces: std::cell::Cell<u32>,
        ca: std::cell::RefCell<Option<PathBuf>>,
    }

    impl Case {
        fn new() -> Case {
            let dir = tempfile::tempdir().unwrap();
            let mirrors = Mirrors::new(dir.path().join("mirrors"));
            let (workspaces, ca) = Default::default();
            let case = Case { dir, mirrors, workspaces, ca };
            fs::create_dir(case.repo()).unwrap();
            case.git(&["init", "--quiet", "--initial-branch=main"]);
            case
        }

        fn repo(&self) -> PathBuf {
            self.dir.path().join("repo")
        }

        fn git(&self, args: &[&str]) -> String {
            run(&self.repo(), args)
        }

        fn commit(&self, file: &str, text: &str) -> String {
            fs::write(self.repo().join(file), text).unwrap();
            self.git(&["add", "--all"]);
            self.git(&["commit", "--quiet", "--message", &format!("write {text}")]);
            self.git(&["rev-parse", "HEAD"])
        }

        async fn check_out(
            &self,
            commit: &str,
            branch: &str,
            checkout: Checkout,
        ) -> Result<PathBuf, GitError> {
            self.check_out_from(&self.repo().display().to_string(), commit, branch, checkout).await
        }

        async fn check_out_from(
            &self,
            url: &str,
            commit: &str,
            branch: &str,
            checkout: Checkout,
        ) -> Result<PathBuf, GitError> {
            let number = self.workspaces.get();
            self.workspaces.set(number + 1);
            let folder = self.dir.path().join(format!("workspace{number}"));
            fs::create_dir(&folder).unwrap();
            let known_hosts = &self.dir.path().join("known_hosts");
            let ca = self.ca.borrow().clone();
            let wanted = Wanted {
                ca: ca.as_deref(),
                url,
                commit,
                branch,
                checkout: &checkout,
                allow_local: true,
                known_hosts,
                access: None,
            };
            let say = mpsc::channel(9).0;
            check_out(&self.mirrors, wanted, &folder, &say).await.map(|line| {
                assert!(line.starts_with(&format!("Checked out {} \"", &commit[..7])), "{line}");
                folder
            })
        }

        fn mirror(&self) -> PathBuf {
            fs::read_dir(self.dir.path().join("mirrors")).unwrap().next().unwrap().unwrap().path()
        }
    }

    /// What git leaves of a fetch for which there was no room would keep the disk full.
    #[tokio::test]
    async fn a_repository_that_is_too_large_for_the_disk_leaves_nothing_of_itself() {
        let disk = SmallDisk::new(4);
        let case = Case { mirrors: Mirrors::new(disk.path().to_owned()), ..Case::new() };
        let first = case.commit("a", "one");
        case.check_out(&first, "main", Checkout::default()).await.unwrap();
        // Random, so that it stays as large as it is.
        let mut large = vec![0; 8 << 20];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut large).unwrap();
        fs::write(case.repo().join("large"), large).unwrap();
        let second = case.commit("a", "two");
        let refused = case.check_out(&second, "main", Checkout::default()).await.unwrap_err();
        assert!(refused.infrastructure && refused.is_full_disk(), "{refused}");
        assert!(Disk::of(disk.path()).unwrap().free > 3 << 20);
        // What was there before still is.
        fs::remove_dir_all(case.repo()).unwrap();
        case.check_out(&first, "main", Checkout::default()).await.unwrap();
    }

    fn run(folder: &Path, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]);
        let output =
            git.args(args).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    const ALL: Checkout = Checkout { depth: 0, tags: true };

    #[tokio::test]
    async fn branches_with_hostile_names() {
        let case = Case::new();
        let commit = case.commit("file", "text");
        let trap = case.dir.path().join("trap");
        let names = [
            "--upload-pack=touch${IFS}trap".to_owned(),
            format!("$(touch {})", trap.display()).replace(' ', "${IFS}"),
            "`id`".to_owned(),
            "<script>alert(1)</script>".to_owned(),
            "a;touch trap".to_owned(),
            "-".to_owned(),
            "main:refs/heads/other".to_owned(),
            String::new(),
        ];
        for name in names {
            let folder = case.check_out(&commit, &name, Checkout::default()).await.unwrap();
            assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "text", "{name}");
            assert_eq!(run(&folder, &["status", "--porcelain"]), "", "{name}");
            assert!(!folder.join("trap").exists() && !trap.exists(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_workspace_stands_alone() {
        let case = Case::new();
        let commit = case.commit("file", "text");
        let folder = case.check_out(&commit, "main", ALL).await.unwrap();
        fs::remove_dir_all(case.mirror()).unwrap();
        assert_eq!(run(&folder, &["log", "--format=%s"]), "write text");
        assert_eq!(run(&folder, &["remote", "get-url", "origin"]), case.repo().display().to_string());
        assert_eq!(run(&folder, &["rev-parse", "refs/remotes/origin/main"]), commit);
        assert!(!folder.join(".git/objects/info/alternates").exists());
        let mut folders = vec![folder.join(".git")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.metadata().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else {
                    assert_eq!(kind.nlink(), 1, "{}", entry.path().display());
                }
            }
        }
    }

    #[tokio::test]
    async fn history_is_as_deep_as_asked_for() {
        let case = Case::new();
        let commits: Vec<_> = (0..8).map(|n| case.commit("file", &n.to_string())).collect();
        case.git(&["tag", "v1", &commits[6]]);
        let check = async |commit: usize, depth: u32, tags: bool, want: usize| {
            let folder = case.check_out(&commits[commit], "main", Checkout { depth, tags }).await.unwrap();
            let count = run(&folder, &["rev-list", "--count", "HEAD"]);
            assert_eq!(count, want.to_string(), "commit {commit}, depth {depth}");
            run(&folder, &["tag"])
        };
        assert_eq!(check(7, 3, true, 3).await, "v1");
        assert_eq!(check(7, 3, false, 3).await, "");
        check(7, 1, true, 1).await;
        check(7, 5, true, 5).await;
        check(3, 2, true, 2).await;
        check(3, 50, true, 4).await;
        check(7, 0, true, 8).await;
        check(7, 3, true, 3).await;
    }

    #[tokio::test]
    async fn a_mirror_that_has_the_commit_asks_nobody() {
        let case = Case::new();
        let commit = case.commit("file", "text");
        case.check_out(&commit, "main", Checkout::default()).await.unwrap();
        case.mirrors.tidy(&case.repo().display().to_string()).await;
        fs::rename(case.repo(), case.dir.path().join("elsewhere")).unwrap();
        case.check_out(&commit, "main", Checkout::default()).await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_mirror_is_made_anew() {
        let case = Case::new();
        let commit = case.commit("file", "text");
        case.check_out(&commit, "main", ALL).await.unwrap();
        let objects = case.mirror().join("objects");
        let damage = async |what: &dyn Fn()| {
            what();
            case.check_out(&commit, "main", ALL).await.unwrap();
        };
        damage(&|| {
            fs::remove_dir_all(&objects).unwrap();
            fs::create_dir_all(objects.join("pack")).unwrap();
        })
        .await;
        damage(&|| fs::write(case.mirror().join("config"), "[core").unwrap()).await;
        damage(&|| fs::remove_file(case.mirror().join("HEAD")).unwrap()).await;
    }

    #[tokio::test]
    async fn what_a_killed_git_has_left_holds_up_nobody() {
        let case = Case::new();
        for text in ["first", "second"] {
            let commit = case.commit("file", text);
            case.check_out(&commit, "main", Checkout::default()).await.unwrap();
            let next = case.mirror().join("refs/ocelot");
            for lock in ["shallow.lock", "packed-refs.lock", "HEAD.lock", "config.lock"] {
                fs::write(case.mirror().join(lock), "").unwrap();
            }
            fs::write(next.join(format!("{commit}.lock")), "").unwrap();
        }
        let commit = case.commit("file", "third");
        case.check_out(&commit, "main", Checkout { depth: 1, tags: true }).await.unwrap();
    }

    #[tokio::test]
    async fn a_commit_that_is_not_there_is_the_jobs_own_fault() {
        let case = Case::new();
        case.commit("file", "text");
        let none = "0123456789abcdef0123456789abcdef01234567";
        let error = case.check_out(none, "main", ALL).await.unwrap_err();
        assert!(!error.infrastructure && error.words.contains("not our ref"), "{error:?}");
        fs::remove_dir_all(case.repo()).unwrap();
        let error = case.check_out(none, "main", ALL).await.unwrap_err();
        assert!(!error.infrastructure && error.words.contains("does not appear"), "{error:?}");
    }

    #[tokio::test]
    async fn over_http_with_and_without_a_password() {
        let case = Case::new();
        let old = case.commit("file", "old");
        let commit = case.commit("file", "text");
        let open = WebHost::start(case.dir.path(), Manners::Open);
        let folder =
            case.check_out_from(&open.url("repo"), &commit, "main", Checkout::default()).await.unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "text");
        let none = "0123456789abcdef0123456789abcdef01234567";
        let check = async |url: &str, commit: &str, want: &str, infrastructure: bool| {
            let error = case.check_out_from(url, commit, "main", Checkout::default()).await.unwrap_err();
            assert!(error.words.contains(want), "{url}: {error:?}");
            assert_eq!(error.infrastructure, infrastructure, "{error:?}");
        };
        check(&open.url("repo"), none, "not our ref", false).await;
        check(&open.url("none"), &commit, "not found", false).await;
        let closed = WebHost::start(case.dir.path(), Manners::Closed);
        let asks = "asks for a user and a password, and takes none that Ocelot has";
        check(&closed.url("repo"), &commit, asks, false).await;
        let wrong = closed.url("repo").replace("://", "://ada:wrong@");
        check(&wrong, &commit, "Authentication failed", false).await;
        let right = closed.url("repo").replace("://", "://ada:secret@");
        let folder = case.check_out_from(&right, &commit, "main", Checkout::default()).await.unwrap();
        assert!(!fs::read_to_string(folder.join(".git/config")).unwrap().contains("secret"));
        // A password that is taken away costs nothing of what was fetched with it.
        drop(closed);
        check(&right, &old, "Failed to connect", true).await;
        case.check_out_from(&right, &commit, "main", Checkout::default()).await.unwrap();
    }

    #[tokio::test]
    async fn over_https_with_an_authority_of_ones_own() {
        let case = Case::new();
        let commit = case.commit("file", "text");
        let host = WebHost::start(case.dir.path(), Manners::Open);
        let authority = Authority::new("ours");
        let front = TlsFront::before(&host.url(""), &authority).await;
        let url = format!("{}/repo", front.url());
        let error = case.check_out_from(&url, &commit, "main", Checkout::default()).await.unwrap_err();
        assert!(error.words.contains("certificate"), "{error:?}");
        let file = authority.write(case.dir.path());
        let all = ocelot_model::roots::with_public(&fs::read_to_string(&file).unwrap());
        fs::write(&file, all).unwrap();
        case.ca.replace(Some(file));
        let folder = case.check_out_from(&url, &commit, "main", Checkout::default()).await.unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "text");
    }

    /// As over ssh, where most hosts do not speak the newer protocol: only what has a name is given out.
    #[tokio::test]
    async fn a_host_that_gives_out_names_only() {
        let case = Case::new();
        let host = WebHost::start(case.dir.path(), Manners::Old);
        let url = host.url("repo");
        let check = async |commit: &str, branch: &str, want: &str| {
            let shallow = Checkout { depth: 2, tags: true };
            let folder = case.check_out_from(&url, commit, branch, shallow).await.unwrap();
            assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), want);
        };
        let first = case.commit("file", "0");
        let tagged = case.commit("file", "tagged");
        case.git(&["tag", "v1"]);
        case.git(&["reset", "--quiet", "--hard", &first]);
        for n in 1..9 {
            case.commit("file", &n.to_string());
        }
        // Further back than what is fetched at first.
        check(&first, "main", "0").await;
        check(&tagged, "v1", "tagged").await;
        // A branch where there was a folder of branches: all names are asked for when the one is not there.
        case.git(&["checkout", "--quiet", "-b", "a/b"]);
        check(&case.commit("file", "ab"), "gone", "ab").await;
        case.git(&["checkout", "--quiet", "main"]);
        case.git(&["branch", "--quiet", "-D", "a/b"]);
        case.git(&["checkout", "--quiet", "-b", "a"]);
        check(&case.commit("file", "a"), "gone", "a").await;
        case.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        check(&case.commit("file", "forced"), "a", "forced").await;
    }

    #[test]
    fn giving_a_workspace_away_changes_no_target_of_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, inside) = (dir.path().join("outside"), dir.path().join("inside"));
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::write(&outside, "").unwrap();
        fs::write(inside.join("sub/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let before = fs::metadata(&outside).unwrap().uid();
        give(&inside, User { uid: 1234, gid: 1235 }).unwrap();
        assert_eq!(fs::metadata(&outside).unwrap().uid(), before);
        for path in ["", "sub", "sub/file", "link"] {
            let owner = fs::symlink_metadata(inside.join(path)).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (1234, 1235), "{path}");
        }
    }
}
