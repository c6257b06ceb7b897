//! A year of builds (`--builds`, 1,000,000): pages of lists with every kind of filter, also with those that fit nothing or little;
//! statistics of the year; and how many lists a second the server gives beside what nginx gives for the same bytes as a file.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ocelot_store::{LogStoreOptions, Options};
use ocelot_testkit::Postgres;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::generate::{REPOS, generate};
use crate::report::{Figure, median, ms, write};
use crate::server;

/// Requests of each list.
const ASKED: usize = 60;
/// Connections that ask at once, for how long, and how often in turns with nginx.
const CONNECTIONS: usize = 8;
const TIME: Duration = Duration::from_secs(3);
const TURNS: usize = 5;

/// See the module.
pub(crate) async fn measure(ocelot: &Path, builds: i64, times: usize) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}/ocelot.db", folder.path().display());
    let lite = series(ocelot, &sqlite, &folder.path().join("lite"), builds, times).await?;
    let cluster = tokio::task::spawn_blocking(Postgres::durable).await?;
    let great = series(ocelot, &cluster.database(), &folder.path().join("great"), builds, times).await?;
    let at_most = |name, value, target| Figure { name, value, target, more_is_better: false, unit: "ms" };
    let ratio = |name, value| Figure { name, value, target: 0.1, more_is_better: true, unit: "ratio" };
    let figures = [
        at_most("history_list_p99_sqlite", lite.p99, 20.0),
        at_most("history_list_p99_postgres", great.p99, 20.0),
        at_most("history_stats_year_sqlite", lite.stats, 50.0),
        at_most("history_stats_year_postgres", great.stats, 50.0),
        ratio("history_lists_to_nginx_sqlite", lite.ratio),
        ratio("history_lists_to_nginx_postgres", great.ratio),
    ];
    write("history", &figures, &json!({"builds": builds, "sqlite": lite.raw, "postgres": great.raw}))
}

/// Medians of the runs.
struct Series {
    /// Of all lists together.
    p99: f64,
    /// The slowest question about the year, by median.
    stats: f64,
    ratio: f64,
    raw: Value,
}

/// The builds are made once; each run has a server of its own.
async fn series(ocelot: &Path, url: &str, data: &Path, builds: i64, times: usize) -> Result<Series> {
    let begin = Instant::now();
    let options = Options {
        database_url: url.to_owned(),
        data: data.to_owned(),
        log_store: LogStoreOptions::default(),
        key_file: None,
    };
    generate(&options, builds).await?;
    let generated = begin.elapsed().as_secs_f64();
    let (mut p99s, mut slowest, mut ratios, mut runs) = (vec![], vec![], vec![], vec![]);
    for _ in 0..times {
        let port = server::free_port()?;
        let options = ["--database-url", url, "--keep-builds", "forever"];
        let up = server::start(ocelot, "server", data, port, &options).await?;
        let token = std::fs::read_to_string(data.join("admin-token"))?;
        let mut line = Line::connect(port, token.trim()).await?;
        let (p99, lists) = lists(&mut line, builds).await?;
        let (stats, questions) = stats(&mut line).await?;
        let (ratio, rates) = beside_nginx(port, token.trim(), data).await?;
        drop(up);
        p99s.push(p99);
        slowest.push(stats);
        ratios.push(ratio);
        runs.push(json!({"lists_ms": lists, "stats_ms": questions, "rates": rates}));
    }
    let raw = json!({"generated_s": generated, "runs": runs,
                     "list_p99_ms": p99s, "stats_year_ms": slowest, "lists_to_nginx": ratios});
    Ok(Series { p99: median(&p99s), stats: median(&slowest), ratio: median(&ratios), raw })
}

/// A connection that stays.
struct Line {
    stream: TcpStream,
    head: String,
}

impl Line {
    async fn connect(port: u16, token: &str) -> Result<Line> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Line { stream, head: format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n") })
    }

    /// Gets it; status and body. The answer has to say how long it is.
    async fn get(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\n{}", self.head).as_bytes()).await?;
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let got = self.stream.read(&mut piece).await?;
            ensure!(got > 0, "the connection ended in the middle of an answer");
            all.extend_from_slice(&piece[..got]);
            let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&all[..end])?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.context("an answer without a length")?.trim().parse()?;
            if all.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).context("no status")?.parse()?;
                return Ok((status, all.split_off(end + 4)));
            }
        }
    }

    async fn json(&mut self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path).await?;
        ensure!(status == 200, "{status} for {path}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }
}

/// One of each kind: `{n}` is another number each time, and `{now}` and `{then}` are times within the year.
const LISTS: &[&str] = &[
    "limit=50",
    "cursor=b{hex}",
    "repo=git/repo0",
    "repo=git/repo0&cursor=b{hex}",
    "repo=git/repo{r}",
    "repo=git/repo99",
    "branch=main",
    "branch=feature/{n}",
    "branch=none",
    "repo=git/repo{r}&branch=main",
    "repo=git/repo{r}&branch=none",
    "commit=0000000",
    "commit=abcdef0",
    "status=failed",
    "status=timed_out&cursor=b{hex}",
    "status=running",
    "repo=git/repo99&status=error",
    "repo=git/repo{r}&status=timed_out",
    "repo=git/repo{r}&status=running",
    "event=tag",
    "event=subscription",
    "repo=git/repo{r}&event=schedule",
    "repo=git/repo99&event=tag",
    "worker=worker{w}",
    "worker=rare",
    "worker=none",
    "worker=worker{w}&repo=git/repo99",
    "since={then}",
    "until={then}",
    "until={then}&repo=git/repo{r}",
    "since=2200-01-01T00:00:00Z",
    "until=1999-01-01T00:00:00Z",
    "q=parser",
    "q=case%20{n}",
    "q=author%20{r}%20",
    "q=nowhere",
    "q=abcdef01",
    "q=zz",
    "q=the%20docs%20what%20never",
    "repo=git/repo99&q=index",
    "repo=git/repo0&branch=main&status=failed&event=tag",
    "branch=feature/{n}&status=error&event=tag",
    "repo=git/repo{r}&until={then}&status=failed&q=docs",
];

/// The 99th percentile of all in milliseconds, and that of each list.
async fn lists(line: &mut Line, builds: i64) -> Result<(f64, Value)> {
    let (mut all, mut each) = (Vec::new(), serde_json::Map::new());
    for template in LISTS {
        let mut times = Vec::new();
        for at in 0..ASKED {
            let n = (at as i64 * 7919 + 13) * 104_729 % builds;
            let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(n * 31_000_000 / builds);
            let path = template
                .replace("{hex}", &format!("{:x}", n + 1))
                .replace("{r}", &(n % REPOS as i64).to_string())
                .replace("{w}", &(n % 50).to_string())
                .replace("{n}", &(n % 500).to_string())
                .replace("{then}", &then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
            let path = format!("/api/v1/builds?{path}");
            let begin = Instant::now();
            line.json(&path).await?;
            times.push(ms(begin.elapsed()));
        }
        all.extend_from_slice(&times);
        each.insert((*template).to_owned(), json!({"median": median(&times), "worst": worst(&times, 1.0)}));
    }
    Ok((worst(&all, 0.99), each.into()))
}

/// The time that this share stays within.
fn worst(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// The slowest question about the year, by median, and all of them.
async fn stats(line: &mut Line) -> Result<(f64, Value)> {
    let year = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(365 * 24);
    let mut each = serde_json::Map::new();
    let mut slowest: f64 = 0.0;
    for question in [
        "bucket=day",
        "bucket=week",
        "bucket=day&repo=git/repo0",
        "bucket=day&repo=git/repo0&branch=main",
        "bucket=week&repo=git/repo0&job=default&stage=test",
        "bucket=day&repo=git/repo99",
        "by=repo",
        "repo=git/repo0&by=stage",
    ] {
        let path = format!("/api/v1/stats?{question}&from={}", year.strftime("%Y-%m-%dT%H:%M:%SZ"));
        let mut times = Vec::new();
        for _ in 0..20 {
            let begin = Instant::now();
            let stats = line.json(&path).await?;
            times.push(ms(begin.elapsed()));
            ensure!(
                stats["total"]["total"].as_u64().is_some_and(|total| total > 0),
                "{question} counts nothing"
            );
        }
        slowest = slowest.max(median(&times));
        each.insert(question.to_owned(), json!({"median": median(&times), "worst": worst(&times, 1.0)}));
    }
    Ok((slowest, each.into()))
}

/// Lists a second beside files a second, of the same bytes, in turns.
async fn beside_nginx(port: u16, token: &str, data: &Path) -> Result<(f64, Value)> {
    let (_, body) = Line::connect(port, token).await?.get("/api/v1/builds").await?;
    let nginx = Nginx::start(&data.join("nginx"), &body)?;
    let (mut ours, mut files) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(rate(port, token, "/api/v1/builds").await?);
        files.push(rate(nginx.port, token, "/list.json").await?);
    }
    let ratios: Vec<f64> = ours.iter().zip(&files).map(|(one, other)| one / other).collect();
    Ok((median(&ratios), json!({"bytes": body.len(), "lists_per_second": ours, "nginx_per_second": files})))
}

async fn rate(port: u16, token: &str, path: &'static str) -> Result<f64> {
    let count = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (mut line, count) = (Line::connect(port, token).await?, count.clone());
        askers.spawn(async move {
            while begin.elapsed() < TIME {
                let (status, _) = line.get(path).await?;
                ensure!(status == 200, "{status} for {path}");
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    while let Some(done) = askers.join_next().await {
        done??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64())
}

/// Gives one file. Ends with it.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(folder: &Path, body: &[u8]) -> Result<Nginx> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("list.json"), body)?;
        let (port, at) = (server::free_port()?, folder.display().to_string());
        let config = format!(
            "daemon off; worker_processes 2; pid {at}/pid; error_log {at}/error.log; user root;
             events {{ worker_connections 256; }}
             http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000;
                 client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d;
                 scgi_temp_path {at}/e; types {{ application/json json; }}
                 server {{ listen 127.0.0.1:{port}; root {at}; }} }}"
        );
        std::fs::write(folder.join("nginx.conf"), config)?;
        let child = Command::new("/usr/sbin/nginx")
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx cannot be started; install it (apt-get install nginx)")?;
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(begin.elapsed() < Duration::from_secs(20), "nginx does not listen");
        }
        Ok(Nginx { child, port })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
