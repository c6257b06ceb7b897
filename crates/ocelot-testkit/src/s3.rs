//! A real S3 service over HTTP on this machine, with its objects in a folder. It can go away and come back.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

const BUCKET: &str = "logs";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret-that-nobody-may-see";

/// Ends with it.
#[derive(Debug)]
pub struct S3 {
    folder: TempDir,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl S3 {
    /// Starts one with an empty bucket.
    pub async fn start() -> S3 {
        let folder = tempfile::tempdir().expect("a folder for S3");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for S3");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(serve(listener, service(&folder)));
        S3 { folder, address, task }
    }

    /// What a log store is told: `s3://…`.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/ocelot")
    }

    /// The usual variables that lead to it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The secret that must stand nowhere.
    pub fn secret() -> &'static str {
        SECRET
    }

    /// The folder with all that was put into the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// Goes away: connections end and new ones are refused.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Comes back at the same address.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port of S3 again");
        self.task = tokio::spawn(serve(listener, service(&self.folder)));
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn service(folder: &TempDir) -> S3Service {
    let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a folder for S3"));
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.build()
}

/// Its connections end with it.
async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let service = service.clone();
        connections.spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            let _ = connection.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
