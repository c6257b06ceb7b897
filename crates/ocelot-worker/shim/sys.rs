//! The few system calls that the standard library lacks, and what `/proc` knows about processes. Linux only.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_long, c_short, c_ulong};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub const SIGKILL: c_int = 9;
pub const SIGTERM: c_int = 15;
pub const SIGCONT: c_int = 18;
pub const SIGSTOP: c_int = 19;
const SIGCHLD: c_int = 17;
const PR_SET_CHILD_SUBREAPER: c_int = 36;
const O_NONBLOCK: c_int = 0o4000;
const O_CLOEXEC: c_int = 0o2_000_000;
const F_SETFL: c_int = 4;
const F_SETPIPE_SZ: c_int = 1031;
const WNOHANG: c_int = 1;
pub const POLLIN: c_short = 1;
pub const POLLOUT: c_short = 4;

#[repr(C)]
pub struct PollFd {
    pub fd: RawFd,
    pub events: c_short,
    pub revents: c_short,
}

unsafe extern "C" {
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int;
    #[link_name = "kill"]
    fn c_kill(pid: c_int, signal: c_int) -> c_int;
    #[link_name = "setsid"]
    fn c_setsid() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    #[link_name = "poll"]
    fn c_poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn signal(signal: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn write(fd: c_int, bytes: *const u8, count: usize) -> c_long;
    #[link_name = "umask"]
    fn c_umask(mask: u32) -> u32;
}

/// Orphans of the tree below this process become its children, not those of process 1.
pub fn adopt_orphans() {
    unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

pub fn setsid() {
    unsafe { c_setsid() };
}

pub fn umask(mask: u32) {
    unsafe { c_umask(mask) };
}

pub fn kill(pid: i32, signal: c_int) {
    unsafe { c_kill(pid, signal) };
}

/// A pipe whose ends no child inherits; `big` asks for a buffer of 1 MiB.
pub fn pipe(big: bool) -> io::Result<(File, OwnedFd)> {
    let mut fds = [0; 2];
    if unsafe { pipe2(fds.as_mut_ptr(), O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (read, write) = unsafe { (File::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    unsafe { fcntl(read.as_raw_fd(), F_SETFL, O_NONBLOCK) };
    if big {
        // A refusal (many pipes of one user) leaves the usual 64 KiB: slower, not wrong.
        unsafe { fcntl(read.as_raw_fd(), F_SETPIPE_SZ, 1 << 20) };
    }
    Ok((read, write))
}

static SIGNAL_PIPE: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

extern "C" fn on_child(_: c_int) {
    let fd = SIGNAL_PIPE.load(std::sync::atomic::Ordering::Relaxed);
    unsafe { write(fd, [0].as_ptr(), 1) };
}

/// Becomes readable whenever a child has ended.
pub fn child_signals() -> io::Result<File> {
    let (read, write) = pipe(false)?;
    unsafe { fcntl(write.as_raw_fd(), F_SETFL, O_NONBLOCK) };
    SIGNAL_PIPE.store(std::os::fd::IntoRawFd::into_raw_fd(write), std::sync::atomic::Ordering::Relaxed);
    unsafe { signal(SIGCHLD, on_child) };
    Ok(read)
}

/// What [`reap`] found.
pub enum Reaped {
    /// A child has ended: its number and wait status.
    One(i32, i32),
    /// There are children, and none has ended.
    NoneYet,
    /// There are no children.
    Nobody,
}

pub fn reap() -> Reaped {
    let mut status = 0;
    match unsafe { waitpid(-1, &mut status, WNOHANG) } {
        0 => Reaped::NoneYet,
        pid if pid > 0 => Reaped::One(pid, status),
        _ => Reaped::Nobody,
    }
}

/// Waits until one of `fds` is ready or the time is over.
pub fn poll(fds: &mut [PollFd], timeout: Option<Duration>) {
    let millis = timeout.map_or(-1, |t| t.as_micros().div_ceil(1000).min(i32::MAX as u128) as c_int);
    for fd in fds.iter_mut() {
        fd.revents = 0;
    }
    unsafe { c_poll(fds.as_mut_ptr(), fds.len() as c_ulong, millis) };
}

/// All living processes below `root`, but for `except` and what is below those.
pub fn descendants(root: i32, except: &[i32]) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<(i32, bool)>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { continue };
        // The command's name is in parentheses and may hold anything: what counts follows the last one.
        let Some(end) = stat.iter().rposition(|b| *b == b')') else { continue };
        let rest = String::from_utf8_lossy(&stat[end + 1..]);
        let mut fields = rest.split_ascii_whitespace();
        let living = !matches!(fields.next(), Some("Z" | "X") | None);
        let Some(parent) = fields.next().and_then(|p| p.parse().ok()) else { continue };
        children.entry(parent).or_default().push((pid, living));
    }
    let (mut found, mut next) = (Vec::new(), vec![root]);
    while let Some(pid) = next.pop() {
        for (child, living) in children.remove(&pid).unwrap_or_default() {
            if !except.contains(&child) {
                next.push(child);
                if living {
                    found.push(child);
                }
            }
        }
    }
    found
}

/// Kills everything below this process but for `except`: first stops all, so that nothing can fork away
/// (a fork bomb ends at its limit of processes), then kills. Reaps what it kills unless `on_reaped` is told.
pub fn kill_below(except: &[i32], mut on_reaped: impl FnMut(i32, i32)) {
    let me = std::process::id() as i32;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut stopped = std::collections::BTreeSet::new();
        loop {
            let fresh: Vec<i32> =
                descendants(me, except).into_iter().filter(|pid| !stopped.contains(pid)).collect();
            if fresh.is_empty() || std::time::Instant::now() > deadline {
                break;
            }
            for pid in fresh {
                kill(pid, SIGSTOP);
                stopped.insert(pid);
            }
        }
        for pid in &stopped {
            kill(*pid, SIGKILL);
        }
        while let Reaped::One(pid, status) = reap() {
            on_reaped(pid, status);
        }
        // What may not be killed (another user's, on the host) is left after ten seconds: a stage must end.
        if stopped.is_empty() || std::time::Instant::now() > deadline {
            return;
        }
        poll(&mut [], Some(Duration::from_millis(1)));
    }
}

/// True when SIGTERM would end this process at once: it neither catches, ignores nor blocks it, and none waits.
pub fn dies_of_sigterm(pid: i32) -> bool {
    const BIT: u64 = 1 << (SIGTERM - 1);
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    ["SigCgt:", "SigIgn:", "SigBlk:", "SigPnd:", "ShdPnd:"].iter().all(|name| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & BIT == 0)
    })
}

/// How often the kernel killed something in this control group because memory ran out.
pub fn oom_kills() -> u64 {
    let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let text = files.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
