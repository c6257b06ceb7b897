//! A whole Ocelot: `ocelot up`, or `ocelot server` and a worker, with the actors that use it.

use std::path::{Path, PathBuf};

use ocelot_api::body::{Build, NewBuild, NewRepo, NewToken, Stage};
use ocelot_api::client::Client;
use ocelot_model::Status;
use ocelot_model::access::Role;
use tempfile::TempDir;

use crate::{GitRepo, Output, Postgres, Process, docker_image_busybox, ocelot, remove_containers, wait_for};

/// Tests run on machines with little free room too, unless a test wants it otherwise.
const ANY_ROOM: [(&str, &str); 2] = [("OCELOT_MIN_FREE", "0"), ("OCELOT_MIN_FREE_PERCENT", "0")];

/// How to start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// `ocelot up`.
    Up,
    /// `ocelot server`, and a worker with Docker in a process of its own.
    Apart,
    /// The same with PostgreSQL.
    Postgres,
    /// `ocelot server`, and a worker that runs jobs as processes of this machine, labelled `tag=here`.
    Host,
    /// `ocelot up --slots 0`: nothing is ever built.
    NoWorker,
}

/// Variables of the server and of a worker that is a process of its own.
#[derive(Debug, Default)]
pub struct Environment {
    /// The server's; with `up` the worker's too.
    pub server: Vec<(String, String)>,
    /// The worker's.
    pub worker: Vec<(String, String)>,
}

/// See the module. Everything is gone when it is dropped.
#[derive(Debug)]
pub struct TestApp {
    bin: PathBuf,
    setup: Setup,
    url: String,
    admin_token: String,
    /// Address of its database, with [`Setup::Postgres`].
    database: String,
    // Dropped in this order: the worker can still report while it ends.
    worker: Option<Process>,
    server: Option<Process>,
    /// What server and worker get beside `HOME` and `PATH`, each its own.
    env: Environment,
    /// Repositories that builds clone from.
    repos: std::sync::Mutex<Vec<GitRepo>>,
    folder: TempDir,
}

impl TestApp {
    /// Starts it. `bin` is the executable: `env!("CARGO_BIN_EXE_ocelot")`.
    pub async fn start(bin: &str, setup: Setup) -> TestApp {
        TestApp::start_with(bin, setup, Environment::default()).await
    }

    /// Starts it with variables of one's choice.
    pub async fn start_with(bin: &str, setup: Setup, env: Environment) -> TestApp {
        if matches!(setup, Setup::Up | Setup::Apart | Setup::Postgres) {
            docker_image_busybox();
        }
        let mut app = TestApp {
            bin: bin.into(),
            setup,
            url: String::new(),
            admin_token: String::new(),
            database: if setup == Setup::Postgres { Postgres::shared().database() } else { String::new() },
            worker: None,
            server: None,
            env,
            repos: std::sync::Mutex::default(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        app.start_server().await;
        if matches!(setup, Setup::Apart | Setup::Postgres | Setup::Host) {
            app.start_worker();
        }
        app
    }

    /// Address of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Folder that is the home of server and worker, and holds the data of both.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Folder of the server's data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Secret of the first token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The admin.
    pub fn admin(&self) -> Client {
        self.with_token(Some(&self.admin_token))
    }

    /// Someone without a token.
    pub fn anyone(&self) -> Client {
        self.with_token(None)
    }

    /// Someone with a new token of this role, limited to these repositories (none: all).
    pub async fn actor(&self, role: Role, scope: &[&str]) -> Client {
        let secret = self.token(role, scope).await;
        self.with_token(Some(&secret))
    }

    /// Secret of a new token.
    pub async fn token(&self, role: Role, scope: &[&str]) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let name = format!("{role}-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let repos = scope.iter().map(|&repo| repo.to_owned()).collect();
        let token = NewToken { name, role, repos, expires_days: None };
        self.admin().create_token(&token).await.expect("a token").secret
    }

    fn with_token(&self, token: Option<&str>) -> Client {
        Client::new(&self.url, token).expect("a client")
    }

    /// `ocelot` with these arguments, as the admin, in an empty folder.
    pub async fn cli(&self, args: &[&str]) -> Output {
        let folder = self.folder.path().join("home");
        std::fs::create_dir_all(&folder).expect("a folder");
        self.cli_in(&folder, args).await
    }

    /// The same with this on its standard input.
    pub async fn cli_with(&self, args: &[&str], input: &str) -> Output {
        let (bin, folder, input) = (self.bin.clone(), self.folder.path().to_owned(), input.to_owned());
        let (url, token) = (self.url.clone(), self.admin_token.clone());
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let work = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            ocelot(&bin, &folder, &[("OCELOT_URL", &url), ("OCELOT_TOKEN", &token)], &args, &input)
        };
        tokio::task::spawn_blocking(work).await.expect("ocelot")
    }

    /// The same in a folder of one's choice.
    pub async fn cli_in(&self, folder: &Path, args: &[&str]) -> Output {
        let (bin, folder) = (self.bin.clone(), folder.to_owned());
        let (url, token) = (self.url.clone(), self.admin_token.clone());
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let work = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            ocelot(&bin, &folder, &[("OCELOT_URL", &url), ("OCELOT_TOKEN", &token)], &args, "")
        };
        tokio::task::spawn_blocking(work).await.expect("ocelot")
    }

    /// Adds a repository; answers its handle. `name` is its name.
    pub async fn add_repo(&self, repo: &GitRepo, name: &str) -> String {
        let new = NewRepo { clone_url: repo.url(), name: Some(name.to_owned()), ..NewRepo::default() };
        self.admin().add_repo(&new).await.expect("a repository").repo
    }

    /// Adds a repository with this `ocelot.yml` and queues a build of it.
    pub async fn build(&self, name: &str, ocelot_yml: &str) -> Build {
        let repo = GitRepo::with(ocelot_yml);
        let handle = self.add_repo(&repo, name).await;
        // The worker clones when it begins.
        self.repos.lock().expect("no test has panicked with it").push(repo);
        self.start_build(&handle).await
    }

    /// Queues a build of the default branch.
    pub async fn start_build(&self, handle: &str) -> Build {
        let new = NewBuild { repo: handle.to_owned(), ..NewBuild::default() };
        self.admin().start(&new).await.expect("a build")
    }

    /// Waits until the build is over.
    pub async fn finished(&self, number: i64) -> Build {
        let client = self.admin();
        let what = format!("the end of build {number}");
        wait_for(&what, async || client.build(number).await.ok().filter(|b| b.status.is_terminal())).await
    }

    /// Waits until a stage has written this to its log.
    pub async fn logged(&self, number: i64, text: &str) {
        let client = self.admin();
        let what = format!("`{text}` in the log of build {number}");
        wait_for(&what, async || client.log(number).await.ok().filter(|log| log.contains(text))).await;
    }

    /// Whole log of one stage.
    pub async fn stage_log(&self, build: &Build, name: &str) -> String {
        let output = self.cli(&["logs", &build.number.to_string(), name, "--raw"]).await;
        output.expect(0).stdout
    }

    /// Kills the server (with `up`, the worker too), as the end of electricity would.
    pub fn kill9(&mut self) {
        self.server.as_mut().expect("a server").kill9();
    }

    /// Kills the worker.
    pub fn kill9_worker(&mut self) {
        self.worker.as_mut().expect("a worker").kill9();
    }

    /// Starts the server again, at the same address with the same data.
    pub async fn restart(&mut self) {
        drop(self.server.take());
        self.start_server().await;
    }

    /// Address of the server's database.
    pub fn database_url(&self) -> String {
        if self.database.is_empty() {
            return format!("sqlite://{}/ocelot.db", self.data().display());
        }
        self.database.clone()
    }

    /// The end of the machine that the server and its database were on: what comes next is a new one of the other kind
    /// of database, and has to be started.
    pub fn destroy(&mut self) {
        self.kill9();
        drop(self.server.take());
        std::fs::remove_dir_all(self.data()).expect("the data folder");
        self.database = if self.database.is_empty() { Postgres::shared().database() } else { String::new() };
    }

    /// Starts the worker again.
    pub fn restart_worker(&mut self) {
        drop(self.worker.take());
        self.start_worker();
    }

    /// The same, with these variables from now on.
    pub fn restart_worker_with(&mut self, env: &[(&str, &str)]) {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.env.worker.extend(env);
        self.restart_worker();
    }

    /// The server's process.
    pub fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("a server")
    }

    /// Name of this Ocelot in the labels of its containers; empty before a worker was there.
    pub fn instance(&self) -> String {
        let places = [self.data().join("worker/instance"), self.folder.path().join("worker/instance")];
        places.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }

    async fn start_server(&mut self) {
        let folder = self.folder.path();
        let (data, address_file) = (self.data(), folder.join("address"));
        let _ = std::fs::remove_file(&address_file);
        let listen = self.url.strip_prefix("http://").unwrap_or("127.0.0.1:0");
        let mut args: Vec<String> = match self.setup {
            Setup::Up => vec!["up".into(), "--slots=2".into()],
            Setup::NoWorker => vec!["up".into(), "--slots=0".into()],
            Setup::Postgres | Setup::Apart | Setup::Host => {
                vec!["server".into(), format!("--database-url={}", self.database_url())]
            }
        };
        if matches!(self.setup, Setup::Postgres | Setup::Apart | Setup::Host) {
            args.push(format!("--worker-token-file={}", folder.join("worker-token").display()));
        }
        args.extend([
            format!("--data={}", data.display()),
            format!("--listen={listen}"),
            "--allow-local-repos".into(),
            format!("--address-file={}", address_file.display()),
        ]);
        let log = folder.join("server.log");
        let mut server = Process::start(&self.bin, folder, &pairs(&self.env.server), &args, &log);
        self.url = wait_for("the server", async || {
            assert!(server.ended().is_none(), "the server ended: {}", server.said());
            std::fs::read_to_string(&address_file).ok()
        })
        .await;
        self.server = Some(server);
        let token = std::fs::read_to_string(data.join("admin-token")).expect("the admin's token");
        token.trim().clone_into(&mut self.admin_token);
    }

    fn start_worker(&mut self) {
        let folder = self.folder.path();
        let mut args: Vec<String> =
            vec!["worker".into(), format!("--server={}", self.url), "--name=w1".into(), "--slots=2".into()];
        args.push(format!("--data={}", folder.join("worker").display()));
        args.push(format!("--token-file={}", folder.join("worker-token").display()));
        if self.setup == Setup::Host {
            args.extend(["--executor=host".into(), "--label=tag=here".into()]);
        }
        let log = folder.join("worker.log");
        let worker = Process::start(&self.bin, folder, &pairs(&self.env.worker), &args, &log);
        self.worker = Some(worker);
    }
}

fn pairs(env: &[(String, String)]) -> Vec<(&str, &str)> {
    ANY_ROOM.into_iter().chain(env.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let instance = self.instance();
        drop(self.worker.take());
        drop(self.server.take());
        if !instance.is_empty() && self.setup != Setup::Host {
            remove_containers(&instance);
        }
    }
}

/// A stage of a build by its name.
pub trait Stages {
    /// Panics when there is none.
    fn stage(&self, name: &str) -> &Stage;
    /// `name: status` of every stage, in order.
    fn story(&self) -> Vec<(String, Status)>;
}

impl Stages for Build {
    #[track_caller]
    fn stage(&self, name: &str) -> &Stage {
        let found = self.jobs.iter().flatten().flat_map(|job| &job.stages).find(|stage| stage.name == name);
        found.unwrap_or_else(|| panic!("no stage {name} in {self:#?}"))
    }

    fn story(&self) -> Vec<(String, Status)> {
        let stages = self.jobs.iter().flatten().flat_map(|job| &job.stages);
        stages.map(|stage| (stage.name.clone(), stage.status)).collect()
    }
}
