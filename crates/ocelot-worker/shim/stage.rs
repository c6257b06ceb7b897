//! One stage's own process: starts the stage's program, writes its output as frames, and when the program has
//! ended kills all that it left behind. It must never block on the worker or on what the stage does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::Owner;
use crate::sys::{self, POLLIN, PollFd, Reaped};
use crate::wire::{Ended, FRAME_HEAD, How, Kind, MAX_FRAME, Order};

/// To the serving process: there is new output.
pub const SAID_DATA: u8 = b'd';
/// To the serving process: the exit file is there.
pub const SAID_ENDED: u8 = b'x';
/// Shortest time between two words about new output.
const QUIET: Duration = Duration::from_millis(5);
/// After a kill order, how often it is looked whether somebody missed it.
const AGAIN: Duration = Duration::from_millis(50);

/// The socket to the serving process is stdin: first the order, later kill orders (grace in ms, u32).
pub fn run(dir: &Path, owner: Owner) -> io::Result<()> {
    sys::umask(0o077);
    sys::adopt_orphans();
    let mut control = unsafe { UnixStream::from_raw_fd(0) };
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    control.read_exact(&mut bytes)?;
    let order = Order::decode(&bytes).ok_or_else(|| io::Error::other("bad order"))?;
    drop(bytes);
    control.set_nonblocking(true)?;

    reserve_exit(dir, &order.key, owner);
    let began = Instant::now();
    let ended = match start(dir, &order, owner) {
        Ok(stage) => stage.watch(&mut control)?,
        Err(why) => Ended {
            how: How::NotStarted(why),
            duration_us: began.elapsed().as_micros() as u64,
            frames_end: 0,
            dropped: 0,
            oom: false,
        },
    };
    write_exit(dir, &order.key, &ended, owner)?;
    control.set_nonblocking(false)?;
    control.write_all(&[SAID_ENDED])
}

/// Takes the room that an exit file needs, before the stage may fill the disk. Without it, it is tried again at the end.
fn reserve_exit(dir: &Path, key: &str, owner: Owner) {
    let fresh = dir.join(format!("{key}.exit.new"));
    if create(&fresh).and_then(|mut file| file.write_all(&[b' '; 4096])).is_ok() {
        owner.own(&fresh);
    }
}

/// Writes the exit file whole or not at all: into the room that was taken for it, if it is there.
pub fn write_exit(dir: &Path, key: &str, ended: &Ended, owner: Owner) -> io::Result<()> {
    let fresh = dir.join(format!("{key}.exit.new"));
    let text = ended.encode();
    let reserved = OpenOptions::new().write(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(&fresh);
    let reserved = reserved.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    });
    if reserved.is_err() {
        let _ = fs::remove_file(&fresh);
        create(&fresh)?.write_all(text.as_bytes())?;
        owner.own(&fresh);
    }
    fs::rename(&fresh, dir.join(Kind::Exit.file(key)))
}

/// A file that was not there before: an earlier stage may have planted a link or a pipe in its place.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A regular file and nothing else, without waiting: a stage may have put a pipe or a link there.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

const O_NONBLOCK: i32 = 0o4000;
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
const O_NOFOLLOW: i32 = 0o100_000;
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
const O_NOFOLLOW: i32 = 0o400_000;

struct Stage {
    main: i32,
    out: File,
    log: Log,
    signals: File,
    began: Instant,
    ended: Option<(How, Duration)>,
    /// When what is left after a kill order is killed without asking.
    deadline: Option<Instant>,
    /// Whom a kill order has reached.
    asked: BTreeSet<i32>,
    oom_kills: u64,
}

fn start(dir: &Path, order: &Order, owner: Owner) -> Result<Stage, String> {
    let log = Log::create(&dir.join(Kind::Log.file(&order.key)), order.cap, owner)
        .map_err(|e| format!("cannot write the log: {e}"))?;
    if let Some(script) = &order.script {
        write_script(&dir.join(format!("{}.sh", order.key)), script, order.user)
            .map_err(|e| format!("cannot write the script: {e}"))?;
    }
    let signals = sys::child_signals().map_err(|e| e.to_string())?;
    let (out, inner) = sys::pipe(true).map_err(|e| e.to_string())?;
    let oom_kills = sys::oom_kills();
    let began = Instant::now();
    let main = spawn(order, inner)?;
    Ok(Stage { main, out, log, signals, began, ended: None, deadline: None, asked: BTreeSet::new(), oom_kills })
}

fn write_script(path: &Path, script: &[u8], user: Option<(u32, u32)>) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = create(path)?;
    file.write_all(script)?;
    let mode = if user.is_some_and(|(uid, _)| uid != 0) { 0o755 } else { 0o700 };
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

fn spawn(order: &Order, out: OwnedFd) -> Result<i32, String> {
    let program = OsStr::from_bytes(order.argv.first().ok_or("no command")?);
    let cwd = Path::new(OsStr::from_bytes(&order.cwd));
    if !cwd.is_dir() {
        return Err(format!("no folder {}", cwd.display()));
    }
    let mut command = Command::new(program);
    command.args(order.argv[1..].iter().map(|word| OsStr::from_bytes(word)));
    command.env_clear();
    for pair in &order.env {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
    if !order.env.iter().any(|pair| pair.starts_with(b"HOME=")) {
        command.env("HOME", home(order.user.map_or(0, |(uid, _)| uid)));
    }
    command.current_dir(cwd).stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(|e| e.to_string())?).stderr(out);
    if let Some((uid, gid)) = order.user {
        command.uid(uid).gid(gid);
    }
    unsafe {
        command.pre_exec(|| {
            sys::setsid();
            sys::umask(0o022);
            Ok(())
        });
    }
    // Children inherit the score: when memory runs out, the stage dies and not what watches it.
    let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let child = command.spawn();
    let _ = fs::write("/proc/self/oom_score_adj", score.trim());
    child.map(|child| child.id() as i32).map_err(|error| explain(program, cwd, &error))
}

/// The home folder that the image names for this user.
fn home(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (*fields.get(2)? == uid.to_string()).then(|| fields.get(5).copied().unwrap_or("/").to_owned())
    });
    found.unwrap_or_else(|| if uid == 0 { "/root" } else { "/" }.to_owned())
}

fn explain(program: &OsStr, cwd: &Path, error: &io::Error) -> String {
    let name = program.to_string_lossy();
    let place = if std::os::unix::process::parent_id() == 1 { "image" } else { "the machine" };
    match error.kind() {
        io::ErrorKind::NotFound if name.contains('/') && cwd.join(&*name).exists() => {
            format!("cannot start {name}: its interpreter or loader is not in {place}")
        }
        io::ErrorKind::NotFound if name.contains('/') => format!("{name} not found in {place}"),
        io::ErrorKind::NotFound => format!("{name} not found in PATH"),
        _ => format!("cannot start {name} in {}: {error}", cwd.display()),
    }
}

impl Stage {
    fn watch(mut self, control: &mut UnixStream) -> io::Result<Ended> {
        let mut block = vec![0; MAX_FRAME];
        let mut open = true;
        let mut told = Instant::now() - QUIET;
        let mut untold = false;
        let mut asked = Instant::now();
        while !self.is_over() {
            let wait = |at: Instant| at.saturating_duration_since(Instant::now());
            let quiet = untold.then(|| wait(told + QUIET));
            let ending = self.deadline.map(|at| wait(at).min(AGAIN));
            let timeout = [quiet, ending].into_iter().flatten().min();
            let mut fds = [
                PollFd { fd: self.signals.as_raw_fd(), events: POLLIN, revents: 0 },
                PollFd { fd: control.as_raw_fd(), events: POLLIN, revents: 0 },
                PollFd { fd: if open { self.out.as_raw_fd() } else { -1 }, events: POLLIN, revents: 0 },
            ];
            sys::poll(&mut fds, timeout);
            if fds[2].revents != 0 {
                match self.out.read(&mut block) {
                    Ok(0) => open = false,
                    Ok(count) => {
                        self.log.write(&block[..count]);
                        untold = true;
                    }
                    Err(_) => {}
                }
            }
            if fds[0].revents != 0 {
                let _ = self.signals.read(&mut [0; 512]);
                self.reap();
            }
            if fds[1].revents != 0 {
                self.obey(control);
            }
            if self.deadline.is_some() && asked.elapsed() >= AGAIN {
                self.ask_again();
                asked = Instant::now();
            }
            if untold && told.elapsed() >= QUIET {
                // A full socket already holds this word; output never waits for its readers.
                let _ = control.write(&[SAID_DATA]);
                (told, untold) = (Instant::now(), false);
            }
        }
        self.finish(&mut block)
    }

    /// The main process has ended, and after a kill order the others had their time.
    fn is_over(&mut self) -> bool {
        if self.deadline.is_some_and(|at| at <= Instant::now()) {
            return true;
        }
        if self.ended.is_none() {
            return false;
        }
        if self.deadline.is_some() {
            // What the main process started after the order, its last commands too, is left alone while that
            // lives. Now nobody waits for it.
            self.ask_to_end();
            return sys::descendants(std::process::id() as i32, &[]).is_empty();
        }
        true
    }

    /// Takes in what has ended; true when children are left.
    fn reap(&mut self) -> bool {
        loop {
            match sys::reap() {
                Reaped::One(pid, status) => self.note(pid, status),
                Reaped::NoneYet => return true,
                Reaped::Nobody => return false,
            }
        }
    }

    fn note(&mut self, pid: i32, status: i32) {
        if pid == self.main && self.ended.is_none() {
            let status = ExitStatus::from_raw(status);
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => How::Code(code),
                (None, signal) => How::Signal(signal.unwrap_or(0)),
            };
            self.ended = Some((how, self.began.elapsed()));
        }
    }

    /// A kill order, or the end of the serving process.
    fn obey(&mut self, control: &mut UnixStream) {
        let mut grace = [0; 4];
        let grace = match control.read(&mut grace) {
            Ok(1..) => Duration::from_millis(u64::from(u32::from_le_bytes(grace))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {
                // The container is being ended from outside. That is not how the stage ended: no exit is
                // written, and the worker sees that it was lost.
                sys::kill_below(&[], |_, _| {});
                std::process::exit(1);
            }
        };
        let at = Instant::now() + grace;
        self.deadline = Some(self.deadline.map_or(at, |old| old.min(at)));
        self.ask_to_end();
    }

    /// SIGTERM to all that were not asked yet. While the list is read, more may be started: so look again, but
    /// not for ever, as a fork bomb always has more.
    fn ask_to_end(&mut self) {
        for _ in 0..3 {
            let all = sys::descendants(std::process::id() as i32, &[]);
            let fresh: Vec<i32> = all.into_iter().filter(|pid| self.asked.insert(*pid)).collect();
            fresh.iter().for_each(|pid| ask(*pid));
            if fresh.is_empty() {
                return;
            }
        }
    }

    /// A shell that has just forked still has its parent's trap, and forgets the signal when it becomes another
    /// program. Who was asked, lives, and would die of the signal has missed it: it cannot be cleaning up.
    fn ask_again(&mut self) {
        let all = sys::descendants(std::process::id() as i32, &[]);
        self.asked.retain(|pid| all.contains(pid));
        self.asked.iter().filter(|pid| sys::dies_of_sigterm(**pid)).for_each(|pid| ask(*pid));
    }

    fn finish(mut self, block: &mut [u8]) -> io::Result<Ended> {
        if self.reap() {
            sys::kill_below(&[], |pid, status| self.note(pid, status));
        }
        // Nobody of the stage can write any more. Another stage may hold the pipe and go on writing: so not to
        // its end, but what fits into it.
        let mut left = 2 << 20;
        while let Ok(count @ 1..) = self.out.read(block) {
            self.log.write(&block[..count]);
            left -= count.min(left);
            if left == 0 {
                break;
            }
        }
        let (how, duration) = self.ended.take().unwrap_or((How::Signal(sys::SIGKILL), self.began.elapsed()));
        Ok(Ended {
            how,
            duration_us: duration.as_micros() as u64,
            frames_end: self.log.end,
            dropped: self.log.dropped,
            oom: sys::oom_kills() > self.oom_kills,
        })
    }
}

fn ask(pid: i32) {
    sys::kill(pid, sys::SIGTERM);
    // A stopped process would not see it.
    sys::kill(pid, sys::SIGCONT);
}

/// The frame file: grows to its cap, and then counts what it drops.
struct Log {
    file: File,
    cap: u64,
    end: u64,
    dropped: u64,
}

impl Log {
    fn create(path: &Path, cap: u64, owner: Owner) -> io::Result<Log> {
        let file = create(path)?;
        owner.own(path);
        Ok(Log { file, cap, end: 0, dropped: 0 })
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = self.cap.saturating_sub(self.end).saturating_sub(FRAME_HEAD as u64);
        // Once something was dropped nothing more is written: a log has one end, not holes.
        let keep = if self.dropped > 0 { 0 } else { room.min(bytes.len() as u64) as usize };
        let (kept, mut lost) = (&bytes[..keep], bytes.len() - keep);
        if !kept.is_empty() {
            if self.frame(kept).is_ok() {
                self.end += (FRAME_HEAD + kept.len()) as u64;
            } else {
                // The disk is full: half a frame must not stay.
                let _ = self.file.set_len(self.end);
                lost = bytes.len();
            }
        }
        self.dropped += lost as u64;
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut head = [0; FRAME_HEAD];
        head[..8].copy_from_slice(&(now.as_micros() as u64).to_le_bytes());
        head[8..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        let mut parts: &mut [IoSlice<'_>] = &mut [IoSlice::new(&head), IoSlice::new(bytes)];
        while !parts.is_empty() {
            match self.file.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut parts, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
