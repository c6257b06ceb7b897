//! The serving process: a socket for the worker, a process for each stage, a grave for orphans. One thread, one
//! loop, nothing in it blocks on a worker. It must not look at a stage's output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Owner;
use crate::stage::{SAID_ENDED, create, write_exit};
use crate::sys::{self, POLLIN, POLLOUT, PollFd, Reaped};
use crate::wire::{self, Ask, Ended, FRAME_HEAD, How, Kind, MAX_ASK, MAX_BLOCK, Order, Tell, is_key};

/// Connections at once; a stage that opens more must not take the worker's.
const MAX_CLIENTS: usize = 32;
/// Answers that a client has not read; no new ask of it is taken beyond.
const MAX_UNREAD: usize = 1 << 20;

struct Serve {
    dir: PathBuf,
    owner: Owner,
    listener: UnixListener,
    signals: File,
    clients: Vec<Client>,
    stages: BTreeMap<String, Running>,
    stopping: bool,
}

struct Running {
    control: UnixStream,
    pid: i32,
    ended: bool,
}

struct Client {
    socket: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Stages of which this client should hear that there is output, when it has read what it has.
    data: BTreeSet<String>,
    gone: bool,
}

/// Serves until told to stop.
pub fn serve(dir: &Path, owner: Owner) -> io::Result<()> {
    if std::process::id() != 1 {
        sys::setsid();
    }
    sys::umask(0o066);
    sys::adopt_orphans();
    fs::create_dir_all(dir)?;
    let sock = dir.join("sock");
    let _ = fs::remove_file(&sock);
    // A socket's path may have 108 bytes, a job's folder more: so by its last name.
    std::env::set_current_dir(dir)?;
    sys::umask(0o177);
    let listener = UnixListener::bind("sock")?;
    sys::umask(0o066);
    owner.own(&sock);
    listener.set_nonblocking(true)?;
    let mut serve = Serve {
        dir: dir.to_owned(),
        owner,
        listener,
        signals: sys::child_signals()?,
        clients: Vec::new(),
        stages: BTreeMap::new(),
        stopping: false,
    };
    while !(serve.stopping && serve.stages.is_empty()) {
        serve.turn();
    }
    sys::kill_below(&[], |_, _| {});
    fs::remove_file(&sock)
}

impl Serve {
    /// Waits for whatever comes first and deals with it.
    fn turn(&mut self) {
        let wants = |fd: &dyn AsRawFd, events| PollFd { fd: fd.as_raw_fd(), events, revents: 0 };
        let mut fds = vec![wants(&self.signals, POLLIN), wants(&self.listener, POLLIN)];
        for client in &self.clients {
            let read = if client.output.len() < MAX_UNREAD { POLLIN } else { 0 };
            let write = if client.output.is_empty() { 0 } else { POLLOUT };
            fds.push(wants(&client.socket, read | write));
        }
        fds.extend(self.stages.values().map(|stage| wants(&stage.control, POLLIN)));
        sys::poll(&mut fds, None);

        if fds[0].revents != 0 {
            let _ = self.signals.read(&mut [0; 512]);
            while let Reaped::One(..) = sys::reap() {}
        }
        let clients = self.clients.len();
        let ready: Vec<bool> = fds[2..].iter().map(|fd| fd.revents != 0).collect();
        self.hear_stages(&ready[clients..]);
        for (at, _) in ready[..clients].iter().enumerate().filter(|(_, ready)| **ready) {
            self.hear_client(at);
        }
        if fds[1].revents != 0 {
            self.accept();
        }
        for client in &mut self.clients {
            client.send();
        }
        self.clients.retain(|client| !client.gone);
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.clients.len() < MAX_CLIENTS && socket.set_nonblocking(true).is_ok() {
                let (input, output, data) = (Vec::new(), Vec::new(), BTreeSet::new());
                self.clients.push(Client { socket, input, output, data, gone: false });
            }
        }
    }

    fn hear_stages(&mut self, ready: &[bool]) {
        let keys: Vec<String> =
            self.stages.keys().zip(ready).filter(|(_, ready)| **ready).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(stage) = self.stages.get_mut(&key) else { continue };
            let mut words = [0; 4096];
            match stage.control.read(&mut words) {
                Ok(count @ 1..) if words[..count].contains(&SAID_ENDED) => stage.ended = true,
                Ok(1..) => {
                    for client in &mut self.clients {
                        client.data.insert(key.clone());
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(0) | Err(_) if stage.ended => {
                    self.stages.remove(&key);
                    continue;
                }
                Ok(_) | Err(_) => {
                    self.stages.remove(&key);
                    self.bury(&key);
                }
            }
            for client in &mut self.clients {
                client.data.remove(&key);
                client.output.extend(Tell::Ended(key.clone()).encode(0));
            }
        }
    }

    /// The stage's own process was killed, so this one does its last work: what belongs to no other stage goes.
    fn bury(&self, key: &str) {
        let others: Vec<i32> = self.stages.values().map(|stage| stage.pid).collect();
        sys::kill_below(&others, |_, _| {});
        let frames_end = frames_end(&self.dir.join(Kind::Log.file(key))).unwrap_or(0);
        let how = How::Signal(sys::SIGKILL);
        let ended = Ended { how, duration_us: 0, frames_end, dropped: 0, oom: false };
        let _ = write_exit(&self.dir, key, &ended, self.owner);
    }

    fn hear_client(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let mut block = [0; 64 << 10];
        match client.socket.read(&mut block) {
            Ok(count @ 1..) => client.input.extend(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => client.gone = true,
        }
        let input = std::mem::take(&mut self.clients[at].input);
        let mut rest = &input[..];
        loop {
            match wire::split(rest, MAX_ASK) {
                Ok(Some((message, used))) => {
                    let answer = Ask::decode(message).map(|(id, ask)| self.answer(ask).encode(id));
                    let client = &mut self.clients[at];
                    client.gone |= answer.is_none();
                    client.output.extend(answer.unwrap_or_default());
                    rest = &rest[used..];
                }
                Ok(None) => break,
                Err(()) => {
                    self.clients[at].gone = true;
                    break;
                }
            }
        }
        self.clients[at].input = rest.to_vec();
    }

    fn answer(&mut self, ask: Ask) -> Tell {
        match ask {
            Ask::Start(order) => self.start(&order),
            Ask::Kill { key, grace_ms } => {
                if let Some(stage) = self.stages.get_mut(&key) {
                    let _ = stage.control.write_all(&grace_ms.to_le_bytes());
                }
                Tell::Done
            }
            Ask::Read { key, kind, offset, most } => self.read(&key, kind, offset, most),
            Ask::Stop => {
                self.stopping = true;
                for stage in self.stages.values_mut() {
                    let _ = stage.control.write_all(&0u32.to_le_bytes());
                }
                Tell::Done
            }
        }
    }

    fn start(&mut self, order: &Order) -> Tell {
        if !is_key(&order.key) || self.stopping {
            return Tell::Refused("no stage can start".into());
        }
        let mark = self.dir.join(Kind::Start.file(&order.key));
        match create(&mark) {
            Ok(_) => self.owner.own(&mark),
            // It was started before, and the answer was lost.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Tell::Done,
            Err(error) => return Tell::Refused(format!("cannot write in the job's folder: {error}")),
        }
        match self.spawn(order) {
            Ok(stage) => {
                self.stages.insert(order.key.clone(), stage);
                Tell::Done
            }
            Err(error) => {
                let _ = fs::remove_file(&mark);
                Tell::Refused(format!("no process for the stage: {error}"))
            }
        }
    }

    fn spawn(&self, order: &Order) -> io::Result<Running> {
        let (mut control, theirs) = UnixStream::pair()?;
        // Not the key: a process list should not be needed to tell stages apart, and it is in the order.
        let child = Command::new("/proc/self/exe")
            .arg0("ocelot-shim")
            .arg("stage")
            .arg(&self.dir)
            .args([self.owner.uid.to_string(), self.owner.gid.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let bytes = order.encode();
        control.set_write_timeout(Some(Duration::from_secs(10)))?;
        control.write_all(&(bytes.len() as u32).to_le_bytes())?;
        control.write_all(&bytes)?;
        control.set_nonblocking(true)?;
        Ok(Running { control, pid: child.id() as i32, ended: false })
    }

    fn read(&self, key: &str, kind: Kind, offset: u64, most: u32) -> Tell {
        if !is_key(key) {
            return Tell::Refused("bad key".into());
        }
        let open = crate::stage::open_regular(&self.dir.join(kind.file(key)));
        let Ok(file) = open else { return Tell::Absent };
        let mut block = vec![0; most.min(MAX_BLOCK) as usize];
        match file.read_at(&mut block, offset) {
            Ok(count) => {
                block.truncate(count);
                Tell::Bytes(block)
            }
            Err(error) => Tell::Refused(error.to_string()),
        }
    }
}

impl Client {
    fn send(&mut self) {
        if self.output.is_empty() {
            for key in std::mem::take(&mut self.data) {
                self.output.extend(Tell::Data(key).encode(0));
            }
        }
        while !self.output.is_empty() && !self.gone {
            match self.socket.write(&self.output) {
                Ok(count @ 1..) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.gone = true,
            }
        }
    }
}

/// Where the last whole frame of a log ends.
fn frames_end(path: &Path) -> io::Result<u64> {
    let file = crate::stage::open_regular(path)?;
    let length = file.metadata()?.len();
    let mut at = 0;
    loop {
        let mut head = [0; FRAME_HEAD];
        if at + FRAME_HEAD as u64 > length || file.read_exact_at(&mut head, at).is_err() {
            return Ok(at);
        }
        let payload = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let next = at + FRAME_HEAD as u64 + u64::from(payload);
        if payload == 0 || next > length {
            return Ok(at);
        }
        at = next;
    }
}
