//! A host that gives out repositories over HTTP: `git http-backend` behind the smallest web server that can start
//! it, with a password when a test wants one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `ada` and `secret`, as a browser sends them.
const ADA: &str = "Basic YWRhOnNlY3JldA==";

/// How a host treats who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Everybody gets every commit.
    Open,
    /// Only `ada` with the password `secret`.
    Closed,
    /// Nobody, whoever they are.
    Forbidding,
    /// It speaks the older protocol, as most hosts do over ssh: only branches and tags are given out.
    Old,
}

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct WebHost {
    address: SocketAddr,
    manners: Arc<Mutex<Manners>>,
    over: Arc<AtomicBool>,
}

impl WebHost {
    /// Serves the repositories below `folder`.
    pub fn start(folder: &Path, manners: Manners) -> WebHost {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let (folder, is_over) = (folder.to_owned(), Arc::clone(&over));
        let manners = Arc::new(Mutex::new(manners));
        let now = Arc::clone(&manners);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                let folder = folder.clone();
                let manners = *now.lock().unwrap_or_else(PoisonError::into_inner);
                // A client that goes away in the middle is no fault.
                std::thread::spawn(move || answer(&stream, &folder, manners));
            }
        });
        WebHost { address, manners, over }
    }

    /// From now on it treats people so.
    pub fn turn(&self, manners: Manners) {
        *self.manners.lock().unwrap_or_else(PoisonError::into_inner) = manners;
    }

    /// Address of a repository below the folder.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}

impl Drop for WebHost {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request and its answer; then the connection ends.
fn answer(stream: &TcpStream, folder: &Path, manners: Manners) -> std::io::Result<()> {
    let mut from = BufReader::new(stream);
    let mut request = Request::read(&mut from)?;
    if manners == Manners::Old {
        request.headers.retain(|(name, _)| name != "git-protocol");
    }
    if manners == Manners::Closed && request.header("authorization") != Some(ADA) {
        return respond(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
    }
    if manners == Manners::Forbidding {
        return respond(stream, "403 Forbidden", "", b"");
    }
    let answer = request.run(folder)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), answer.get(end + 4..).unwrap_or_default());
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    respond(stream, status, &format!("{head}\r\n"), body)
}

fn respond(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(from: &mut BufReader<&TcpStream>) -> std::io::Result<Request> {
        let first = line(from)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut headers = Vec::new();
        while let Some((name, value)) = line(from)?.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut request = Request { method, path, query, headers, body: Vec::new() };
        if request.header("transfer-encoding") == Some("chunked") {
            while let size @ 1.. = u64::from_str_radix(&line(from)?, 16).unwrap_or(0) {
                from.take(size).read_to_end(&mut request.body)?;
                line(from)?;
            }
        } else {
            let length = request.header("content-length").and_then(|length| length.parse().ok());
            from.take(length.unwrap_or(0)).read_to_end(&mut request.body)?;
        }
        Ok(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What `git http-backend` answers.
    fn run(&self, folder: &Path) -> std::io::Result<Vec<u8>> {
        let mut backend = Command::new("git");
        backend.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        backend.env("GIT_HTTP_EXPORT_ALL", "1").env("GIT_PROJECT_ROOT", PathBuf::from(folder));
        backend
            .env("PATH_INFO", &self.path)
            .env("QUERY_STRING", &self.query)
            .env("REQUEST_METHOD", &self.method);
        backend.env("CONTENT_LENGTH", self.body.len().to_string());
        let passed = [
            ("CONTENT_TYPE", "content-type"),
            ("HTTP_CONTENT_ENCODING", "content-encoding"),
            ("GIT_PROTOCOL", "git-protocol"),
        ];
        for (variable, header) in passed {
            backend.env(variable, self.header(header).unwrap_or_default());
        }
        let mut child = backend.spawn()?;
        // Requests are small: they fit into the pipe before an answer is read.
        child.stdin.take().expect("its input").write_all(&self.body)?;
        Ok(child.wait_with_output()?.stdout)
    }
}

fn line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    line.truncate(line.trim_end().len());
    Ok(line)
}
