//! Servers and workers as processes of their own that can be treated badly one by one, and builds that write down
//! elsewhere what they do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelot_api::body::{Build, NewBuild, NewRepo};
use ocelot_api::client::Client;
use ocelot_testkit::{GitRepo, Island, Postgres, Process, docker_image_busybox, remove_containers, wait_for};
use rustix::process::Signal;

use crate::OCELOT;

/// A process that can be started again as it was.
pub(super) struct Node {
    process: Option<Process>,
    command: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    home: PathBuf,
    pub(super) log: PathBuf,
}

impl Node {
    fn new(home: &Path, name: &str, command: Vec<String>) -> Node {
        let log = home.join(format!("{name}.log"));
        Node { process: None, command, env: Vec::new(), home: home.to_owned(), log }
    }

    /// Starts it, again when it ran before.
    pub(super) fn start(&mut self) {
        drop(self.process.take());
        let env: Vec<_> = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (bin, args) = self.command.split_first().expect("a command");
        self.process = Some(Process::start(bin.as_ref(), &self.home, &env, args, &self.log));
    }

    pub(super) fn kill9(&mut self) {
        self.process().kill9();
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Exit code, once it has ended; a signal has none.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let process = self.process();
        wait_for("the end of a process", async || process.ended()).await.code()
    }

    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said this after the first `from` bytes of its log.
    pub(super) async fn says(&self, words: &str, from: usize) {
        let what = format!("`{words}` from {}", self.log.display());
        wait_for(&what, async || self.said().get(from..)?.contains(words).then_some(())).await;
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }
}

/// How a world is made.
pub(super) struct Plan<'a> {
    /// A worker that is silent for so long is lost.
    pub(super) limit: Duration,
    /// No worker is lost before the server has been up for so long.
    pub(super) grace: Duration,
    pub(super) postgres: Option<&'a Postgres>,
    /// Where the first server keeps its data.
    pub(super) data: Option<PathBuf>,
    pub(super) env: Vec<(&'static str, String)>,
}

impl Default for Plan<'_> {
    /// SQLite, and nobody is lost by being slow.
    fn default() -> Self {
        let (limit, grace) = (Duration::from_secs(90), Duration::from_secs(5));
        Plan { limit, grace, postgres: None, data: None, env: Vec::new() }
    }
}

/// How a worker is made.
pub(super) struct Seat<'a> {
    pub(super) name: &'a str,
    pub(super) slots: u32,
    pub(super) docker: bool,
    /// Where it finds the server, when not directly.
    pub(super) server: Option<String>,
    pub(super) island: Option<&'a Island>,
    /// Where it keeps its data.
    pub(super) data: Option<PathBuf>,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(&'static str, String)>,
}

impl Seat<'_> {
    /// One that runs stages as processes of this machine, two at a time.
    pub(super) fn host(name: &str) -> Seat<'_> {
        let (server, island, data) = (None, None, None);
        Seat { name, slots: 2, docker: false, server, island, data, args: Vec::new(), env: Vec::new() }
    }

    /// One that runs them in containers.
    pub(super) fn docker(name: &str) -> Seat<'_> {
        docker_image_busybox();
        Seat { docker: true, ..Seat::host(name) }
    }
}

/// See the module. All of it is gone when it is dropped, workers first.
pub(super) struct World {
    pub(super) workers: Vec<Node>,
    pub(super) servers: Vec<Node>,
    pub(super) url: String,
    pub(super) database: String,
    admin_token: String,
    /// Folders of the workers' data.
    pub(super) places: Vec<PathBuf>,
    repos: Vec<GitRepo>,
    pub(super) builds: Vec<i64>,
    pub(super) folder: tempfile::TempDir,
}

impl World {
    /// One server, and no worker yet.
    pub(super) async fn start(plan: Plan<'_>) -> World {
        let folder = tempfile::tempdir().unwrap();
        let data = plan.data.unwrap_or_else(|| folder.path().join("data"));
        let sqlite = || format!("sqlite://{}/ocelot.db", data.display());
        let database = plan.postgres.map_or_else(sqlite, Postgres::database);
        std::fs::create_dir(folder.path().join("said")).unwrap();
        let mut world = World {
            workers: Vec::new(),
            servers: Vec::new(),
            url: String::new(),
            database,
            admin_token: String::new(),
            places: Vec::new(),
            repos: Vec::new(),
            builds: Vec::new(),
            folder,
        };
        let mut env: Vec<(String, String)> =
            vec![("OCELOT_LEASE_HARD_LIMIT".into(), format!("{}ms", plan.limit.as_millis()))];
        env.push(("OCELOT_LEASE_GRACE".into(), format!("{}ms", plan.grace.as_millis())));
        env.extend(plan.env.into_iter().map(|(name, value)| (name.to_owned(), value)));
        world.url = world.add_server(&data, env).await;
        let token = std::fs::read_to_string(data.join("admin-token")).unwrap();
        token.trim().clone_into(&mut world.admin_token);
        world
    }

    /// A server with data of its own on the same database; answers its address.
    pub(super) async fn add_server(&mut self, data: &Path, env: Vec<(String, String)>) -> String {
        let home = self.folder.path();
        let address = home.join(format!("address-{}", self.servers.len()));
        let command = [
            OCELOT.to_owned(),
            "server".to_owned(),
            format!("--database-url={}", self.database),
            format!("--data={}", data.display()),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--address-file={}", address.display()),
            format!("--worker-token-file={}", home.join("worker-token").display()),
            "--allow-local-repos".to_owned(),
            // All of them are on this machine.
            format!("--log-store=file://{}", home.join("log-store").display()),
            "--log-store-shared".to_owned(),
        ];
        let mut node = Node::new(home, &format!("server-{}", self.servers.len()), command.to_vec());
        node.env = env;
        node.start();
        let url = await_address(&mut node, &address).await;
        // From now on always there.
        let listen = format!("--listen={}", url.trim_start_matches("http://"));
        node.command[4] = listen;
        self.servers.push(node);
        url
    }

    /// Starts a server again and waits until it answers.
    pub(super) async fn restart_server(&mut self, index: usize) {
        let address = self.folder.path().join(format!("address-{index}"));
        let _ = std::fs::remove_file(&address);
        let node = &mut self.servers[index];
        node.start();
        await_address(node, &address).await;
    }

    /// Starts a worker; answers its index.
    pub(super) fn add_worker(&mut self, seat: Seat<'_>) -> usize {
        let home = self.folder.path();
        let data = seat.data.unwrap_or_else(|| home.join(seat.name));
        let mut command: Vec<String> =
            seat.island.map_or_else(Vec::new, |island| island.enter().map(str::to_owned).to_vec());
        command.extend([
            OCELOT.to_owned(),
            "worker".to_owned(),
            format!("--server={}", seat.server.unwrap_or_else(|| self.url.clone())),
            format!("--name={}", seat.name),
            format!("--slots={}", seat.slots),
            format!("--data={}", data.display()),
            format!("--token-file={}", home.join("worker-token").display()),
            format!("--executor={}", if seat.docker { "docker" } else { "host" }),
        ]);
        if !seat.docker {
            command.push("--label=tag=here".to_owned());
        }
        command.extend(seat.args);
        let mut node = Node::new(home, seat.name, command);
        // The machine's disk is none of the tests' business, and theirs are small.
        let any_room = ["OCELOT_MIN_FREE", "OCELOT_MIN_FREE_PERCENT"].map(|name| (name, "0".to_owned()));
        let env = any_room.into_iter().chain(seat.env);
        node.env = env.map(|(name, value)| (name.to_owned(), value)).collect();
        node.start();
        self.workers.push(node);
        self.places.push(data);
        self.workers.len() - 1
    }

    pub(super) fn admin(&self) -> Client {
        Client::new(&self.url, Some(&self.admin_token)).unwrap()
    }

    /// A repository with this `ocelot.yml`; answers its handle.
    pub(super) async fn add_repo(&mut self, name: &str, yml: &str) -> String {
        let repo = GitRepo::with(yml);
        let new = NewRepo { clone_url: repo.url(), name: Some(name.to_owned()), ..NewRepo::default() };
        self.repos.push(repo);
        self.admin().add_repo(&new).await.unwrap().repo
    }

    /// A build of a new repository; answers its number.
    pub(super) async fn build(&mut self, name: &str, yml: &str) -> i64 {
        let handle = self.add_repo(name, yml).await;
        self.build_again(&handle).await
    }

    /// One more build of a repository.
    pub(super) async fn build_again(&mut self, handle: &str) -> i64 {
        self.build_at(None, handle).await
    }

    /// The same, asked for at another server.
    pub(super) async fn build_at(&mut self, url: Option<&str>, handle: &str) -> i64 {
        let new = NewBuild { repo: handle.to_owned(), ..NewBuild::default() };
        let client = Client::new(url.unwrap_or(&self.url), Some(&self.admin_token)).unwrap();
        let number = client.start(&new).await.unwrap().number;
        self.builds.push(number);
        number
    }

    pub(super) async fn finished(&self, number: i64) -> Build {
        let client = self.admin();
        let what = format!("the end of build {number}");
        wait_for(&what, async || client.build(number).await.ok().filter(|b| b.status.is_terminal())).await
    }

    /// One stage, `count`, that says `n1`, `n2`, … ten times a second up to `last`, on this machine.
    pub(super) fn counting(&self, last: u32) -> String {
        self.host_yml(&format!("for i in $(seq {last}); do echo n$i; sleep 0.1; done"))
    }

    /// One stage, `count`, with this body, on this machine.
    pub(super) fn host_yml(&self, body: &str) -> String {
        format!("machineTag: here\nstages:\n{}", self.stage("count", body))
    }

    /// A stage that writes one line when it begins, and everything that it says, where nobody but the test looks.
    pub(super) fn stage(&self, name: &str, body: &str) -> String {
        let home = self.folder.path().display();
        format!(
            "  - name: {name}\n    script:\n      - |\n        \
             echo \"$BUILD_ID $OCELOT_STAGE $OCELOT_ATTEMPT $(cut -d' ' -f1 /proc/uptime)\" >> {home}/effects\n        \
             {{ {body}; }} 2>&1 | tee -a {home}/said/$BUILD_ID.$OCELOT_STAGE.$OCELOT_ATTEMPT\n"
        )
    }

    /// The lines that stages wrote when they began: build, stage, attempt, and the time since the machine's start.
    pub(super) fn effects(&self) -> Vec<(String, f64)> {
        let text = std::fs::read_to_string(self.folder.path().join("effects")).unwrap_or_default();
        let line = |line: &str| {
            let (what, when) = line.rsplit_once(' ').unwrap();
            (what.to_owned(), when.parse().unwrap())
        };
        text.lines().map(line).collect()
    }

    /// What an attempt at a stage has said, as it says itself.
    pub(super) fn said(&self, build: i64, stage: &str, attempt: u32) -> Vec<u8> {
        let path = self.folder.path().join(format!("said/{build}.{stage}.{attempt}"));
        std::fs::read(path).unwrap_or_default()
    }

    /// Waits until a build that runs here has been renewed by its worker: what a claim grants at first is another time.
    pub(super) async fn renewed(&self, build: i64) {
        self.counted(build, "n20").await;
    }

    /// Waits until the first attempt at `count` has itself said this line.
    pub(super) async fn counted(&self, build: i64, line: &str) {
        self.counted_by(build, 1, line).await;
    }

    /// The same of any attempt.
    pub(super) async fn counted_by(&self, build: i64, attempt: u32, line: &str) {
        let what = format!("`{line}` of build {build}, attempt {attempt}");
        let has = || String::from_utf8_lossy(&self.said(build, "count", attempt)).lines().any(|l| l == line);
        wait_for(&what, async || has().then_some(())).await;
    }

    /// What the server answers to a `GET` of this path, whole.
    pub(super) async fn page(&self, path: &str) -> String {
        let host = self.url.trim_start_matches("http://").to_owned();
        let ask = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            self.admin_token
        );
        let answer = move || {
            let mut socket = TcpStream::connect(host)?;
            socket.write_all(ask.as_bytes())?;
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer)?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        tokio::task::spawn_blocking(answer).await.unwrap().unwrap()
    }

    /// Most memory that each process has had, in KiB, servers first.
    pub(super) fn peaks(&self) -> Vec<u64> {
        let nodes = self.servers.iter().chain(&self.workers);
        nodes.map(|node| node.process.as_ref().unwrap().peak_kib()).collect()
    }

    pub(super) fn has_docker(&self) -> bool {
        self.workers.iter().any(|node| node.command.iter().any(|word| word == "--executor=docker"))
    }

    /// Name of this world in the labels of containers; empty before a worker was there.
    pub(super) fn instance(&self) -> String {
        let known = self.places.iter().find_map(|data| std::fs::read_to_string(data.join("instance")).ok());
        known.unwrap_or_default()
    }
}

async fn await_address(node: &mut Node, file: &Path) -> String {
    wait_for("the server", async || {
        assert!(node.process().ended().is_none(), "the server ended: {}", node.said());
        std::fs::read_to_string(file).ok()
    })
    .await
}

impl Drop for World {
    fn drop(&mut self) {
        let instance = self.instance();
        self.workers.clear();
        self.servers.clear();
        if !instance.is_empty() {
            remove_containers(&instance);
        }
    }
}
