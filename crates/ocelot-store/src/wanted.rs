//! Which workers suit which labels, and who is asked when several could have a job. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ocelot_model::WorkerId;

/// A worker with free slots.
#[derive(Debug, Clone)]
pub struct Free {
    /// Which one.
    pub worker: WorkerId,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// How many, at least one.
    pub slots: u32,
}

impl Free {
    pub(crate) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// A job that can be claimed now.
#[derive(Debug, Clone, Copy)]
pub struct Next<'a> {
    /// Where its repository is cloned from.
    pub clone_url: &'a str,
    /// Its image.
    pub image: Option<&'a str>,
    /// Labels that a worker must have.
    pub labels: &'a BTreeMap<String, String>,
    /// For how long it could have been claimed.
    pub waited: Duration,
}

/// Who of the free workers gets a job: the place of one that suits, of which the first is whose turn it is. With `None`
/// nobody gets it now, and nothing else of its repository. It is called inside a transaction, and maybe again.
pub type Choose<'a> = &'a (dyn Fn(&Next<'_>, &[Free]) -> Option<usize> + Sync);

/// Labels that some job asked for.
#[derive(Debug)]
pub(crate) struct LabelSet {
    pub(crate) id: i64,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
}

impl LabelSet {
    fn suits(&self, worker: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| worker.get(key) == Some(value))
    }
}

/// All label sets, and those that jobs in the queue ask for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) sets: Arc<Vec<LabelSet>>,
    pub(crate) waiting: Vec<i64>,
}

impl Wanted {
    /// True when something may wait for a worker with these labels.
    pub(crate) fn suits(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.waiting.is_empty()
            && self.sets.iter().any(|set| set.suits(labels) && self.waiting.contains(&set.id))
    }

    /// The label sets that suit a worker with these labels.
    pub(crate) fn suiting(&self, labels: &BTreeMap<String, String>) -> impl Iterator<Item = i64> {
        self.sets.iter().filter(|set| set.suits(labels)).map(|set| set.id)
    }
}
