//! An `ocelot up` of the release build in a folder of its own, and a repository for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ocelot_api::body::{Build, NewBuild, NewRepo, NewToken};
use ocelot_api::client::Client;
use ocelot_model::access::Role;

/// Ends with it.
pub(crate) struct Server {
    child: Child,
    /// Speaks as the admin.
    pub(crate) client: Client,
    url: String,
    /// From the start of the process to the first good `/readyz`.
    pub(crate) ready_after: Duration,
}

/// Starts `ocelot up` with these further options.
pub(crate) async fn up(ocelot: &Path, data: &Path, more: &[&str]) -> Result<Server> {
    start(ocelot, "up", data, free_port()?, more).await
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts `ocelot up` or `ocelot server` at this port.
pub(crate) async fn start(
    ocelot: &Path,
    role: &str,
    data: &Path,
    port: u16,
    more: &[&str],
) -> Result<Server> {
    let log = std::fs::File::options().create(true).append(true).open(data.with_extension("log"))?;
    let begin = Instant::now();
    let child = Command::new(ocelot)
        .args([role, "--allow-local-repos", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(data)
        .args(more)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| {
            format!("cannot start {}; build it with cargo build --release -p ocelot", ocelot.display())
        })?;
    let url = format!("http://127.0.0.1:{port}");
    let probe = Client::new(&url, None)?;
    while probe.ready().await.is_err() {
        if begin.elapsed() > Duration::from_secs(20) {
            bail!("not ready after 20 s; its log is {}", data.with_extension("log").display());
        }
        tokio::task::yield_now().await;
    }
    let ready_after = begin.elapsed();
    let token = std::fs::read_to_string(data.join("admin-token"))?;
    Ok(Server { child, client: Client::new(&url, Some(token.trim()))?, url, ready_after })
}

impl Server {
    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new token for workers.
    pub(crate) async fn worker_token(&self) -> Result<String> {
        let token =
            NewToken { name: "bench".into(), role: Role::Worker, repos: Vec::new(), expires_days: None };
        Ok(self.client.create_token(&token).await?.secret)
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Bytes of a line of `/proc/<pid>/<file>` that is given in kB.
    pub(crate) fn memory(&self, file: &str, line: &str) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid()))?;
        let line = text.lines().find(|text| text.starts_with(line)).context("no such line")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024.0)
    }

    /// Time on a core so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let (_, rest) = text.rsplit_once(')').context("a name in brackets")?;
        let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let ticks: f64 = ticks.sum::<Result<f64, _>>()?;
        // The kernel shows hundredths to all programs.
        Ok(ticks / 100.0)
    }

    /// Waits until its worker is there.
    pub(crate) async fn has_worker(&self) -> Result<()> {
        let begin = Instant::now();
        while self
            .client
            .workers()
            .await?
            .iter()
            .all(|worker| !["idle", "busy"].contains(&worker.state.as_str()))
        {
            if begin.elapsed() > Duration::from_secs(20) {
                bail!("no worker connected within 20 s");
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Queues a build and waits until it is over, by its event stream. The time from the request to the news of the end.
    pub(crate) async fn build(&self, repo: &str, branch: &str) -> Result<(Build, Duration)> {
        let begin = Instant::now();
        let new = NewBuild { repo: repo.into(), branch: Some(branch.into()), ..NewBuild::default() };
        let build = self.client.start(&new).await?;
        let mut events = self.client.events(build.number, None);
        while let Some(event) = events.next().await {
            event?;
        }
        let time = begin.elapsed();
        let build = self.client.build(build.number).await?;
        if !build.status.is_good() {
            bail!("build {} ended as {}: {:?}", build.number, build.status, build.reason);
        }
        Ok((build, time))
    }

    /// Adds a repository.
    pub(crate) async fn add(&self, path: &Path, name: &str) -> Result<String> {
        let new =
            NewRepo { clone_url: path.display().to_string(), name: Some(name.into()), ..NewRepo::default() };
        Ok(self.client.add_repo(&new).await?.repo)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        let _ = self.child.wait();
    }
}

/// Runs git in a folder.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let done = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !done.success() {
        bail!("git {arguments:?} failed in {}", folder.display());
    }
    Ok(())
}

/// A repository with this `ocelot.yml` and twenty files.
pub(crate) fn repository(root: &Path, name: &str, yml: &str) -> Result<PathBuf> {
    let folder = root.join(name);
    for at in 0..20 {
        let file = folder.join(format!("src/part{}/file{at}.txt", at % 10));
        std::fs::create_dir_all(file.parent().context("a file has a folder")?)?;
        std::fs::write(file, format!("line of file {at}\n").repeat(40))?;
    }
    std::fs::write(folder.join("ocelot.yml"), yml)?;
    git(&folder, &["init", "-q"])?;
    git(&folder, &["add", "-A"])?;
    git(&folder, &["commit", "-qm", "first"])?;
    Ok(folder)
}

/// A further commit.
pub(crate) fn touch(folder: &Path, text: &str) -> Result<()> {
    std::fs::write(folder.join("touched.txt"), text)?;
    git(folder, &["add", "-A"])?;
    git(folder, &["commit", "-qm", text])
}
