//! How this machine is, as the server is told, and how much room its disks must have.

use std::io;
use std::path::Path;

use ocelot_api::proto;
use ocelot_model::size;
use rustix::fs::StatVfs;

/// How this machine is, as the server is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The disk that has the least to spare, when it is known.
    pub(crate) disk: Option<Disk>,
    /// Why no jobs are taken.
    pub(crate) unwell: Option<String>,
    /// One job is taken, to see whether all is well again; the number tells one try from the next.
    pub(crate) trial: Option<u64>,
}

impl Condition {
    /// True when the server should hear of it: free space that moves by less than a hundredth is no news.
    pub(crate) fn is_news(&self, told: &Condition) -> bool {
        let moved = match (self.disk, told.disk) {
            (Some(now), Some(then)) => {
                now.total != then.total || now.free.abs_diff(then.free) >= now.total / 100
            }
            (now, then) => now != then,
        };
        moved || self.unwell != told.unwell
    }

    /// As it is sent.
    pub(crate) fn to_proto(&self) -> proto::Condition {
        proto::Condition {
            disk_free: self.disk.map_or(0, |disk| disk.free),
            disk_total: self.disk.map_or(0, |disk| disk.total),
            unwell: self.unwell.clone().unwrap_or_default(),
        }
    }
}

/// A file system with less than this is taken as full: who finds no room for a file leaves a rest.
const FULL: u64 = 1 << 20;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Bytes that one who is not root may still write.
    pub(crate) free: u64,
    /// All bytes.
    pub(crate) total: u64,
}

impl Disk {
    /// The one that holds this path.
    pub(crate) fn of(path: &Path) -> io::Result<Disk> {
        Ok(rustix::fs::statvfs(path)?.into())
    }

    /// True when nothing of any size can be written.
    pub(crate) fn is_full(self) -> bool {
        self.free < FULL
    }
}

impl From<StatVfs> for Disk {
    fn from(told: StatVfs) -> Disk {
        Disk {
            free: told.f_bavail.saturating_mul(told.f_frsize),
            total: told.f_blocks.saturating_mul(told.f_frsize),
        }
    }
}

/// How much must be free on a disk that jobs write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinFree {
    /// Bytes; 0 for no limit.
    pub bytes: u64,
    /// Hundredths of the whole, but never more than [`MinFree::ENOUGH`]; 0 for no limit.
    pub percent: u8,
}

impl Default for MinFree {
    fn default() -> MinFree {
        MinFree { bytes: 5 << 30, percent: 10 }
    }
}

impl MinFree {
    /// So many free bytes are enough for [`MinFree::percent`], however large the disk is: 20 GiB.
    pub const ENOUGH: u64 = 20 << 30;
    /// Whatever is free is enough.
    pub const NONE: MinFree = MinFree { bytes: 0, percent: 0 };

    /// Bytes that are missing on this disk.
    pub(crate) fn lacks(self, disk: Disk) -> u64 {
        self.bytes.max(self.share(disk).min(MinFree::ENOUGH)).saturating_sub(disk.free)
    }

    fn share(self, disk: Disk) -> u64 {
        (u128::from(disk.total) * u128::from(self.percent) / 100) as u64
    }

    /// `3.1 GiB free of 100 GiB, wants 5 GiB and 10 %`.
    pub(crate) fn words(self, disk: Disk) -> String {
        let bytes = (self.bytes > 0).then(|| size::words(self.bytes));
        let capped = if self.share(disk) > MinFree::ENOUGH {
            format!(" (at most {})", size::words(MinFree::ENOUGH))
        } else {
            String::new()
        };
        let percent = (self.percent > 0).then(|| format!("{} %{capped}", self.percent));
        let wants: Vec<String> = bytes.into_iter().chain(percent).collect();
        let (free, total) = (size::words(disk.free), size::words(disk.total));
        format!("{free} free of {total}, wants {}", wants.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(free: u64, total: u64) -> Disk {
        Disk { free: free * GIB, total: total * GIB }
    }

    #[test]
    fn both_limits_hold_but_the_share_has_an_end() {
        let check = |free, total, want: u64| {
            assert_eq!(MinFree::default().lacks(disk(free, total)).div_ceil(GIB), want, "{free} of {total}");
        };
        check(5, 50, 0);
        check(4, 50, 1);
        check(9, 100, 1);
        check(10, 100, 0);
        check(20, 4000, 0);
        check(19, 4000, 1);
        check(7, 8, 0);
        assert_eq!(MinFree::NONE.lacks(disk(0, 100)), 0);
        assert_eq!(MinFree { bytes: 0, percent: 50 }.lacks(disk(4, 10)), GIB);
    }

    #[test]
    fn what_is_missing_in_words() {
        let check =
            |limit: MinFree, free, total, want: &str| assert_eq!(limit.words(disk(free, total)), want);
        check(MinFree::default(), 3, 100, "3 GiB free of 100 GiB, wants 5 GiB and 10 %");
        check(MinFree::default(), 3, 400, "3 GiB free of 400 GiB, wants 5 GiB and 10 % (at most 20 GiB)");
        check(MinFree { bytes: 5 * GIB, percent: 0 }, 3, 100, "3 GiB free of 100 GiB, wants 5 GiB");
        check(MinFree { bytes: 0, percent: 7 }, 3, 100, "3 GiB free of 100 GiB, wants 7 %");
    }

    #[test]
    fn small_moves_are_no_news() {
        let at = |free, unwell: Option<&str>| Condition {
            disk: Some(disk(free, 1000)),
            unwell: unwell.map(str::to_owned),
            trial: None,
        };
        let check = |now: &Condition, then: &Condition, want| assert_eq!(now.is_news(then), want);
        check(&at(500, None), &at(509, None), false);
        check(&at(500, None), &at(510, None), true);
        check(&at(500, None), &at(500, Some("x")), true);
        check(&at(500, Some("x")), &at(500, Some("y")), true);
        check(&at(500, None), &Condition::default(), true);
    }

    #[test]
    fn a_disk_is_looked_at() {
        let disk = Disk::of(Path::new("/")).unwrap();
        assert!(disk.total >= disk.free && disk.total > 0, "{disk:?}");
        assert!(Disk::of(Path::new("/nowhere/at/all")).is_err());
    }
}
