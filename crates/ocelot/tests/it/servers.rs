//! Two servers on one PostgreSQL, behind a proxy that asks `/readyz`: one is stopped, one is killed, and nobody notices.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ocelot_api::body::{NewBuild, NewRepo};
use ocelot_api::client::{BuildQuery, Client};
use ocelot_model::Status;
use ocelot_testkit::{GitRepo, Postgres, Process, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;

use super::OCELOT;

/// Passes each connection on to a server that says that it is ready, as any proxy with health checks does.
struct Proxy {
    address: SocketAddr,
    servers: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy =
            Proxy { address: listener.local_addr().unwrap(), servers: Arc::default(), over: Arc::default() };
        let (servers, over, turn) = (proxy.servers.clone(), proxy.over.clone(), AtomicU32::new(0));
        let turn = Arc::new(turn);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten().take_while(|_| !over.load(Ordering::Relaxed)) {
                let (servers, turn) = (servers.clone(), turn.clone());
                std::thread::spawn(move || pass_on(&client, &servers, turn.fetch_add(1, Ordering::Relaxed)));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn pass_on(client: &TcpStream, servers: &Mutex<Vec<String>>, turn: u32) {
    let mut all = servers.lock().unwrap().clone();
    let count = all.len().max(1);
    all.rotate_left(turn as usize % count);
    let Some(server) = all.iter().find(|address| is_ready(address)) else { return };
    let Ok(server) = TcpStream::connect(server) else { return };
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let up = std::thread::spawn(move || copy(&from_client, &to_server));
    copy(&server, client);
    let _ = up.join();
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

fn is_ready(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// The servers, a worker and what it did.
struct Site {
    proxy: Proxy,
    token: String,
    database: String,
    repo: String,
    servers: Vec<Option<Process>>,
    addresses: Vec<String>,
    _worker: Process,
    sources: GitRepo,
    folder: TempDir,
}

impl Site {
    async fn start() -> Site {
        let database = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start();
        let args = [
            "worker".to_owned(),
            format!("--server={}", proxy.url()),
            "--name=w1".into(),
            "--slots=3".into(),
            "--executor=host".into(),
            "--label=tag=here".into(),
            format!("--data={}", folder.path().join("worker").display()),
            format!("--token-file={}", folder.path().join("worker-token").display()),
        ];
        let log = folder.path().join("worker.log");
        let worker = Process::start(OCELOT.as_ref(), folder.path(), &[], &args, &log);
        let did = folder.path().join("did");
        let script = format!(
            "'echo $BUILD_ID $OCELOT_ATTEMPT >> {}; echo begun; sleep 0.2; seq 1 500; echo ended'",
            did.display()
        );
        let sources = GitRepo::with(&format!(
            "machineTag: here\nstages:\n  - name: work\n    script:\n      - {script}\n"
        ));
        let mut site = Site {
            proxy,
            token: String::new(),
            database,
            repo: String::new(),
            servers: vec![None, None],
            addresses: vec!["127.0.0.1:0".into(), "127.0.0.1:0".into()],
            _worker: worker,
            sources,
            folder,
        };
        site.begin(0).await;
        site.begin(1).await;
        let token = std::fs::read_to_string(site.folder.path().join("0/admin-token")).unwrap();
        token.trim().clone_into(&mut site.token);
        let new = NewRepo { clone_url: site.sources.url(), name: Some("app".into()), ..NewRepo::default() };
        site.repo = site.client().add_repo(&new).await.unwrap().repo;
        site
    }

    /// Starts a server, at the same address as before.
    async fn begin(&mut self, n: usize) {
        let folder = self.folder.path();
        let address_file: PathBuf = folder.join(format!("address-{n}"));
        let _ = std::fs::remove_file(&address_file);
        let args = [
            "server".to_owned(),
            format!("--database-url={}", self.database),
            format!("--data={}", folder.join(n.to_string()).display()),
            format!("--listen={}", self.addresses[n]),
            format!("--address-file={}", address_file.display()),
            format!("--worker-token-file={}", folder.join("worker-token").display()),
            format!("--log-store=file://{}", folder.join("log-store").display()),
            "--log-store-shared".into(),
            "--stop-delay=1s".into(),
            "--allow-local-repos".into(),
        ];
        let log = folder.join(format!("{n}.log"));
        let mut server = Process::start(OCELOT.as_ref(), folder, &[], &args, &log);
        let url = wait_for("the server", async || {
            assert!(server.ended().is_none(), "the server ended: {}", server.said());
            std::fs::read_to_string(&address_file).ok()
        })
        .await;
        url.trim().trim_start_matches("http://").clone_into(&mut self.addresses[n]);
        self.servers[n] = Some(server);
        self.proxy.servers.lock().unwrap().clone_from(&self.addresses);
    }

    /// Someone who comes by way of the proxy, with a connection of their own.
    fn client(&self) -> Client {
        Client::new(&self.proxy.url(), Some(&self.token)).unwrap()
    }

    /// Someone at one of the servers.
    fn at(&self, n: usize) -> Client {
        Client::new(&format!("http://{}", self.addresses[n]), Some(&self.token)).unwrap()
    }

    async fn start_build(&self, client: &Client) -> Result<i64, String> {
        let new = NewBuild { repo: self.repo.clone(), ..NewBuild::default() };
        client.start(&new).await.map(|build| build.number).map_err(|error| error.to_string())
    }

    /// People look, and sometimes build, until `until` is over. Answers what went wrong.
    async fn used_while(&self, until: impl Future<Output = ()>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut until = std::pin::pin!(until);
        for n in 0.. {
            let client = self.client();
            let asked = match n % 8 {
                0 => self.start_build(&client).await.map(drop),
                _ => client.builds(&BuildQuery::default()).await.map(drop).map_err(|error| error.to_string()),
            };
            faults.extend(asked.err());
            if futures_util::poll!(until.as_mut()).is_ready() {
                break;
            }
        }
        faults
    }

    /// Every build passed in its first attempt, and its script ran once.
    async fn all_is_well(&self) {
        let client = self.client();
        let query = BuildQuery { limit: Some(500), ..BuildQuery::default() };
        let builds = wait_for("the end of all builds", async || {
            let all = client.builds(&query).await.ok()?.items;
            all.iter().all(|build| build.status.is_terminal()).then_some(all)
        })
        .await;
        let mut want = BTreeMap::new();
        for build in &builds {
            assert_eq!(build.status, Status::Passed, "{build:#?}");
            want.insert(format!("{} 1", build.number), 1);
            let log = client.log(build.number).await.unwrap();
            assert!(log.contains("\n499\n500\n"), "{log}");
        }
        let mut did = BTreeMap::new();
        for line in std::fs::read_to_string(self.folder.path().join("did")).unwrap().lines() {
            *did.entry(line.to_owned()).or_insert(0) += 1;
        }
        assert_eq!(did, want);
    }
}

/// One server after the other is stopped by SIGTERM and started again, in the middle of requests and builds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_request_and_no_build() {
    let mut site = Site::start().await;
    for n in [0, 1] {
        let mut server = site.servers[n].take().unwrap();
        server.signal(Signal::TERM);
        let ended = wait_for("its end", async || server.ended());
        let faults = site.used_while(async { assert!(ended.await.success()) }).await;
        assert_eq!(faults, Vec::<String>::new(), "{}", server.said());
        site.begin(n).await;
    }
    site.all_is_well().await;
}

/// A server that is killed takes what was asked of it in that moment along, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_replaced_by_the_other_one() {
    let mut site = Site::start().await;
    let client = site.client();
    for _ in 0..6 {
        site.start_build(&client).await.unwrap();
    }
    // The worker is with one of them, and each is killed once.
    for n in [0, 1] {
        site.servers[n].as_mut().unwrap().kill9();
        let other = site.at(1 - n);
        let number = site.start_build(&other).await.unwrap();
        wait_for("a build without the other server", async || {
            other.build(number).await.ok().filter(|build| build.status == Status::Passed)
        })
        .await;
        let workers = other.workers().await.unwrap();
        assert_eq!(workers.iter().map(|worker| worker.state.as_str()).collect::<Vec<_>>(), ["idle"]);
        site.begin(n).await;
    }
    site.all_is_well().await;
}

/// Whichever server one asks, it shows and does the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_shows_and_does_the_same() {
    let site = Site::start().await;
    let waits = "machineTag: here\nstages:\n  - name: work\n    script: [echo begun, sleep 600]\n";
    let long = GitRepo::with(waits);
    let new = NewRepo { clone_url: long.url(), name: Some("long".into()), ..NewRepo::default() };
    let repo = site.client().add_repo(&new).await.unwrap().repo;
    // The worker is connected to one of them only.
    for n in [0, 1] {
        let (one, other) = (site.at(n), site.at(1 - n));
        let build = one.start(&NewBuild { repo: repo.clone(), ..NewBuild::default() }).await.unwrap().number;
        for client in [&one, &other] {
            sees_live(client, build).await;
            let workers = client.workers().await.unwrap();
            assert_eq!((workers[0].state.as_str(), workers[0].busy), ("busy", 1));
        }
        one.cancel(build).await.unwrap();
        let cancelled =
            async || other.build(build).await.ok().filter(|build| build.status == Status::Cancelled);
        wait_for("the end of the build", cancelled).await;
    }
}

/// Follows the build until its log has come this far.
async fn sees_live(client: &Client, build: i64) {
    let mut events = client.events(build, None);
    let sees = async {
        while let Some(event) = events.next().await {
            if format!("{event:?}").contains("begun\\n") {
                return;
            }
        }
        panic!("the stream ended");
    };
    tokio::time::timeout(Duration::from_mins(1), sees).await.expect("the log in time");
}
