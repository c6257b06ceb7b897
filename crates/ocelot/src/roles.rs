//! What `up`, `server` and `worker` have in common: the log, the lock of a data folder, and the signals
//! that end a process. Knows nothing of client commands.

mod address;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod options;
pub(crate) mod read;
pub(crate) mod signals;
pub(crate) mod token;
pub(crate) mod work;

pub(crate) use address::{local_url, write_address};

/// The machine's name: what a worker is called unless it is told.
pub(crate) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "worker".to_owned() } else { name.to_owned() }
}
