//! A real mail server: the distribution's `python3-aiosmtpd`, with TLS and a password.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Authority, wait_for};

/// Who it lets in.
pub const MAIL_USER: &str = "ci";
/// With this.
pub const MAIL_PASSWORD: &str = "canary-of-mail";

/// How it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the clear until STARTTLS, which it insists on.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// It has no TLS at all.
    Clear,
}

/// See the module. Its certificate is for `localhost`; gone when dropped.
#[derive(Debug)]
pub struct MailServer {
    mode: Mode,
    port: String,
    server: Child,
    folder: TempDir,
}

impl MailServer {
    /// One with a certificate of this authority.
    pub async fn start(mode: Mode, authority: &Authority) -> MailServer {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let (cert, key) = authority.sign(&["localhost"]);
        std::fs::write(file("cert.pem"), cert).expect("a file");
        std::fs::write(file("key.pem"), key).expect("a file");
        std::fs::write(file("server.py"), include_str!("mail.py")).expect("a file");
        let word = match mode {
            Mode::StartTls => "smtp",
            Mode::Implicit => "smtps",
            Mode::Clear => "clear",
        };
        let log = File::create(file("log")).expect("a file");
        // Not just any python3: that of the distribution has the package.
        let mut server = Command::new("/usr/bin/python3")
            .arg(file("server.py"))
            .arg(word)
            .args(["cert.pem", "key.pem", "box", "port"].map(file))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("python3 is missing: apt-get install -y python3-aiosmtpd");
        let port = wait_for("the mail server", async || {
            let ended = server.try_wait().expect("its state");
            let said = || std::fs::read_to_string(file("log")).unwrap_or_default();
            assert!(ended.is_none(), "no mail server (apt-get install -y python3-aiosmtpd): {}", said());
            std::fs::read_to_string(file("port")).ok()
        })
        .await;
        MailServer { mode, port, server, folder }
    }

    /// Its address, as a credential has it.
    pub fn url(&self) -> String {
        let scheme = if self.mode == Mode::Implicit { "smtps" } else { "smtp" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// The mails that it took: `from`, `to`, `user`, `encrypted`, `text`.
    pub fn taken(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("box")).unwrap_or_default();
        // The last line may be on its way.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
