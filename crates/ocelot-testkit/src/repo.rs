//! Real git repositories, made with git.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A repository with a working tree, gone when dropped.
#[derive(Debug)]
pub struct GitRepo {
    folder: TempDir,
}

impl Default for GitRepo {
    fn default() -> GitRepo {
        GitRepo::new()
    }
}

impl GitRepo {
    /// An empty one; its branch is `main`.
    pub fn new() -> GitRepo {
        let repo = GitRepo { folder: tempfile::tempdir().expect("a folder") };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    /// One with this `ocelot.yml`.
    pub fn with(ocelot_yml: &str) -> GitRepo {
        let repo = GitRepo::new();
        repo.commit(&[("ocelot.yml", ocelot_yml)]);
        repo
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Writes files (path, text) and commits them; answers the commit.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=a change"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// git with these arguments; answers its output.
    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git is missing: `apt-get install -y git`");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
