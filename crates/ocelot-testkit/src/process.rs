//! A process of ours: started, killed, and always gone at the end. Known by its id alone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const TIDY: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says is added to `log`.
    pub fn start(bin: &Path, folder: &Path, env: &[(&str, &str)], args: &[String], log: &Path) -> Process {
        let out = File::options().create(true).append(true).open(log).expect("a file for the log");
        let err = out.try_clone().expect("a second handle");
        let child = Command::new(bin)
            .args(args)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // How full this machine's disk is must not decide what tests see.
            .envs([("OCELOT_MIN_FREE", "0"), ("OCELOT_MIN_FREE_PERCENT", "0")])
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", bin.display()));
        Process { child, log: log.to_owned() }
    }

    /// What it has said so far, and what earlier processes with the same log had.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its state")
    }

    /// Most memory that it has had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kib| kib.parse().ok()).expect("its memory")
    }

    /// Sends a signal, if it is still there.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
            kill_process(pid, signal).expect("a signal to our own process");
        }
    }

    /// Dies at once, without a chance to tidy up.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop and cancel what runs, and waits; kills it when it takes too long.
    pub fn stop(&mut self) {
        let begin = Instant::now();
        // A stopped one hears nothing.
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        self.signal(Signal::TERM);
        while self.ended().is_none() && begin.elapsed() < TIDY {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill9();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("--- {}\n{}", self.log.display(), lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
