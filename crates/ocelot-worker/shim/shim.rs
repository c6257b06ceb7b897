//! The first process of a container, or of a job's process tree on the host: runs the stages that a worker
//! sends, keeps their output and their exits in files, and goes on when the worker dies. Only the standard
//! library; linked statically so that it runs in any image. It must not need anything from the image.

mod serve;
mod stage;
mod sys;
mod walls;
mod wipe;
#[allow(dead_code, reason = "the worker uses the other half")]
mod wire;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::exit;

fn main() {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match &words[..] {
        [_, "serve", dir, uid, gid] => serve::serve(Path::new(dir), owner(uid, gid)).inspect_err(|error| {
            // Nobody reads this process's output: the worker looks here when no socket appears.
            let _ = fs::write(Path::new(dir).join("shim.err"), error.to_string());
        }),
        [_, "stage", dir, uid, gid] => stage::run(Path::new(dir), owner(uid, gid)),
        [_, "relay", dir] => relay(Path::new(dir)),
        [_, "install", from, to, nonce, file] => install(from, to, nonce, file),
        [_, "listen", port] => port.parse().map_err(io::Error::other).and_then(walls::listen),
        [_, "knock", address] => match address.parse() {
            Ok(address) => exit(i32::from(!walls::knock(address))),
            Err(error) => Err(io::Error::other(error)),
        },
        [_, "wipe", dir] => wipe::wipe(Path::new(dir)),
        _ => Err(io::Error::other("usage: shim serve|stage|relay|install|listen|knock|wipe …")),
    };
    if let Err(error) = result {
        eprintln!("shim: {error}");
        exit(125);
    }
}

/// Whose the files become: the worker's user, who may be another than the one in the container.
#[derive(Clone, Copy)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

fn owner(uid: &str, gid: &str) -> Owner {
    Owner { uid: uid.parse().unwrap_or(0), gid: gid.parse().unwrap_or(0) }
}

impl Owner {
    pub fn own(self, path: &Path) {
        let _ = std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid));
    }
}

/// Joins the socket to stdin and stdout, for a worker that reaches the container only through its engine.
fn relay(dir: &Path) -> io::Result<()> {
    let mut from = UnixStream::connect(dir.join("sock"))?;
    let mut to = from.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to);
        exit(0);
    });
    let mut block = vec![0; 256 << 10];
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            exit(0);
        }
        let mut out = io::stdout().lock();
        out.write_all(&block[..count])?;
        out.flush()?;
    }
}

/// Moves the freshly uploaded shim to its place in one step, and leaves a word where the worker may see it.
fn install(from: &str, to: &str, nonce: &str, file: &str) -> io::Result<()> {
    fs::rename(from, to)?;
    if !file.is_empty() {
        fs::write(file, nonce)?;
    }
    Ok(())
}
