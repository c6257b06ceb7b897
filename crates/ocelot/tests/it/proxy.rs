//! Behind nginx: people and programs over HTTP/1.1, workers over HTTP/2.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use ocelot_api::body::NewBuild;
use ocelot_api::client::Client;
use ocelot_model::Status;
use ocelot_model::access::Role;
use ocelot_testkit::{GitRepo, Process, Setup, Stages as _, TestApp, docker_image_busybox, wait_for};

use super::OCELOT;

struct Nginx {
    process: Child,
    http: String,
    grpc: String,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// As `docs/` would have it: the usual headers on, nothing special for event streams.
fn nginx(upstream: &str) -> Nginx {
    let folder = tempfile::tempdir().unwrap();
    let (http, grpc) = (free_port(), free_port());
    let at = folder.path().display();
    let conf = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;
         events {{}}
         http {{
             access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
             server {{
                 listen 127.0.0.1:{http};
                 location / {{
                     proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host;
                     proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
                 }}
             }}
             server {{
                 listen 127.0.0.1:{grpc} http2;
                 location /ocelot. {{ grpc_pass grpc://{upstream}; grpc_read_timeout 1h; grpc_send_timeout 1h; client_max_body_size 0; }}
             }}
         }}"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let process = Command::new("/usr/sbin/nginx")
        .args(["-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .expect("no nginx: apt-get install -y nginx-light");
    let (http, grpc) = (format!("http://127.0.0.1:{http}"), format!("http://127.0.0.1:{grpc}"));
    Nginx { process, http, grpc, _folder: folder }
}

#[tokio::test]
async fn a_build_by_way_of_nginx() {
    docker_image_busybox();
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let nginx = nginx(app.url().strip_prefix("http://").unwrap());
    let token = app.token(Role::Worker, &[]).await;
    let home = tempfile::tempdir().unwrap();
    let args = [
        "worker".to_owned(),
        format!("--server={}", nginx.grpc),
        format!("--data={}", home.path().join("w").display()),
    ];
    let log = home.path().join("log");
    let _worker = Process::start(OCELOT.as_ref(), home.path(), &[("OCELOT_TOKEN", &token)], &args, &log);

    let client = Client::new(&nginx.http, Some(app.admin_token())).unwrap();
    wait_for("nginx", async || client.ready().await.ok()).await;
    let yml = "image: ocelot-test/busybox\nstages:\n  - name: flow\n    script: ['seq 1 20000']\n";
    let repo = GitRepo::with(yml);
    let name = app.add_repo(&repo, "proxied").await;
    let build = client.start(&NewBuild { repo: name, ..NewBuild::default() }).await.unwrap();
    // The event stream passes through, unbuffered, to its end.
    let mut events = client.events(build.number, None);
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    let build = client.build(build.number).await.unwrap();
    assert_eq!(build.status, Status::Passed, "{build:#?}");
    let log = app.stage_log(&build, "flow").await;
    assert!(log.ends_with("19999\n20000\n") && build.stage("flow").log_bytes == log.len() as i64);
}
