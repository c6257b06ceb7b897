//! Why a job still waits, in words. Pure but for [`Picture::load`]: a picture of the queue and the fleet goes in,
//! sentences come out.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ocelot_model::turns::{Ticket, places};
use ocelot_model::{JobId, RepoId, expect};
use ocelot_store::{Group, Place, StoreError, Waiting, Worker};

use crate::App;

/// A worker that is silent for longer is not counted on.
const SILENT_MS: i64 = 60_000;
/// Workers that are unwell and named in one sentence, at most.
const NAMED: usize = 3;

/// All that [`state`] says.
pub(crate) const STATES: [&str; 5] = ["idle", "busy", "draining", "unreachable", "disconnected"];

/// How a worker stands, in one of [`STATES`].
pub(crate) fn state(worker: &Worker) -> &'static str {
    match (worker.connected, worker.silent_ms > SILENT_MS) {
        (true, false) if is_draining(worker) => "draining",
        (true, false) if worker.holds.is_empty() => "idle",
        (true, false) => "busy",
        (true, true) => "unreachable",
        (false, _) => "disconnected",
    }
}

/// True when it is heard.
pub(crate) fn is_there(worker: &Worker) -> bool {
    worker.connected && worker.silent_ms <= SILENT_MS
}

/// True when it gets no more jobs.
pub(crate) fn is_draining(worker: &Worker) -> bool {
    worker.drained_by.is_some() || worker.ending
}

/// The queue and the fleet at one time.
pub(crate) struct Picture {
    /// In the order in which they would start, were there one kind of worker. Very many may wait: what is not needed for their
    /// places is asked of those only that are spoken of.
    pub(crate) queue: Vec<Place>,
    /// The workers that are counted on.
    workers: Vec<Worker>,
    /// Those that are not there.
    away: Vec<Worker>,
    now: Timestamp,
    /// Who wants that nothing is handed out, in words.
    paused: Option<String>,
    /// So many jobs of one repository run at once.
    most: Option<u32>,
    /// How many of each do.
    running: HashMap<RepoId, u32>,
    /// For each set of workers, by their places, who stands in line for them.
    lines: HashMap<Vec<usize>, Vec<usize>>,
}

impl Picture {
    /// As it is now.
    pub(crate) async fn load(app: &App) -> Result<Picture, StoreError> {
        let queue = app.store.list_queue().await?;
        let workers = app.store.list_workers().await?;
        let paused = app.store.paused().await?.map(|pause| pause.to_string());
        let most = app.config.max_jobs_per_repo;
        Ok(Picture { paused, most, ..Picture::new(queue, workers, app.store.now().await?) })
    }

    fn new(queue: Vec<Place>, mut workers: Vec<Worker>, now: Timestamp) -> Picture {
        let mut running = HashMap::new();
        for (_, repo, _) in workers.iter().flat_map(|worker| &worker.holds) {
            *running.entry(repo.id).or_insert(0) += 1;
        }
        let away = workers.extract_if(.., |worker| !is_there(worker)).collect();
        let (paused, most, lines) = (None, None, HashMap::new());
        let mut picture = Picture { queue, workers, away, now, paused, most, running, lines };
        // First what a worker may take, in turn; then what none has the labels for; then what is not ready.
        let mut order = picture.line(&picture.takers(&BTreeMap::new()));
        let mut listed = vec![false; picture.queue.len()];
        order.iter().for_each(|at| listed[*at] = true);
        for ready in [true, false] {
            let rest = (0..listed.len()).filter(|at| !listed[*at] && picture.queue[*at].ready == ready);
            order.extend(rest.collect::<Vec<_>>());
        }
        let mut rows: Vec<Option<Place>> = picture.queue.drain(..).map(Some).collect();
        picture.queue = order.into_iter().filter_map(|at| rows[at].take()).collect();
        picture
    }

    /// These places of the queue, each with what there is to say of its job; those that were taken in the meantime are left out.
    pub(crate) async fn spoken_of(
        &self,
        app: &App,
        places: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<(usize, Waiting)>, StoreError> {
        let places: Vec<usize> = places.into_iter().collect();
        let jobs: Vec<JobId> = places.iter().map(|at| self.queue[*at].ticket.job).collect();
        let rows = app.store.waiting(&jobs).await?.into_iter();
        let mut rows: HashMap<JobId, Waiting> = rows.map(|row| (row.job_id, row)).collect();
        let found = places.into_iter().zip(jobs);
        Ok(found.filter_map(|(at, job)| Some((at, rows.remove(&job)?))).collect())
    }

    /// Why `job`, which has the place `queue[at]`, waits.
    pub(crate) fn reason(&mut self, at: usize, job: &Waiting) -> String {
        if let Some(what) = job.trust.waits_for() {
            return format!("blocked: {what}");
        }
        if job.approval {
            return format!(
                "blocked: its file wants a person to let it start: ocelot approve {} {}",
                job.build, job.job
            );
        }
        if let Some(group) = &job.group {
            return in_the_way(group);
        }
        if !job.ready {
            let names: Vec<String> = job.needs.iter().map(|name| format!("`{name}`")).collect();
            let noun = if names.len() == 1 { "job" } else { "jobs" };
            return format!("needs {noun} {}", names.join(", "));
        }
        if let Some(time) = job.not_before.filter(|time| *time > self.now) {
            let clock = time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string();
            return format!("waits until {clock} UTC for its next attempt");
        }
        if let Some(words) = &self.paused {
            return words.clone();
        }
        if let (Some(most), Some(running)) = (self.most, self.running.get(&job.repo.id))
            && *running >= most
        {
            return format!("{running} of at most {most} jobs of {} at once are running", job.repo.name);
        }
        if self.workers.is_empty() {
            return "no worker is connected".to_owned();
        }
        let matching: Vec<&Worker> = self.workers.iter().filter(|worker| has(worker, &job.labels)).collect();
        if matching.is_empty() {
            let away: Vec<&Worker> = self.away.iter().filter(|worker| has(worker, &job.labels)).collect();
            return if !away.is_empty() {
                all_away(&away)
            } else if job.trust.origin.is_trusted() {
                nobody_has(&self.workers, &job.labels)
            } else {
                let nobody = nobody_has(&self.workers, &job.labels);
                format!("what is not the repository's own runs in containers only: {nobody}")
            };
        }
        let (draining, matching): (Vec<_>, Vec<_>) =
            matching.into_iter().partition(|worker| is_draining(worker));
        if matching.is_empty() {
            return all_drain(&draining);
        }
        let well: Vec<&Worker> = matching.iter().filter(|w| w.condition.unwell.is_none()).copied().collect();
        if well.is_empty() {
            return unwell(&matching);
        }
        let (slots, busy) = room(&well);
        let place = self.place(at);
        match (slots, busy < slots) {
            (0, _) => "the matching workers take no jobs (0 slots)".to_owned(),
            (_, true) => format!("a worker is about to take it ({place})"),
            (_, false) => format!("{busy} of {slots} slots busy, {place}"),
        }
    }

    /// Milliseconds until a worker takes `job`, which has the place `queue[at]`, when each job takes as long as `usual` and half of
    /// what runs is over; `None` when that hangs on something else.
    pub(crate) fn wait_ms(&mut self, at: usize, job: &Waiting, usual: i64) -> Option<i64> {
        let may_start = job.trust.may_start() && !job.approval && job.group.is_none() && job.ready;
        if !may_start || self.paused.is_some() {
            return None;
        }
        let matching = self.workers.iter().filter(|worker| has(worker, &job.labels) && !is_draining(worker));
        let well: Vec<&Worker> = matching.filter(|worker| worker.condition.unwell.is_none()).collect();
        let (slots, busy) = room(&well);
        let before = self.before(at).len();
        expect::wait(slots, &vec![usual / 2; busy as usize], before, usual)
    }

    /// The workers that may take jobs with these labels, by their places.
    fn takers(&self, labels: &BTreeMap<String, String>) -> Vec<usize> {
        let may = |worker: &Worker| has(worker, labels) && !is_draining(worker);
        (0..self.workers.len()).filter(|at| may(&self.workers[*at])).collect()
    }

    /// Who stands before `queue[at]` in the line for the workers that may take it.
    fn before(&mut self, at: usize) -> &[usize] {
        let takers = self.takers(&self.queue[at].labels);
        if !self.lines.contains_key(&takers) {
            let line = self.line(&takers);
            self.lines.insert(takers.clone(), line);
        }
        let line = &self.lines[&takers];
        let place = line.iter().position(|other| *other == at);
        &line[..place.unwrap_or(line.len())]
    }

    /// `4th in line`, among the jobs that the same workers may take.
    fn place(&mut self, at: usize) -> String {
        let before = self.before(at).to_vec();
        let own = self.queue[at].ticket;
        let newer = |other: &usize| {
            let other = self.queue[*other].ticket;
            other.repo != own.repo && other.build > own.build
        };
        let place = ordinal(before.len() + 1);
        if before.iter().any(newer) {
            format!("{place} in line: newer jobs of other repositories have their turn first")
        } else {
            format!("{place} in line")
        }
    }

    /// Who stands in line for these workers, the next one first.
    fn line(&self, workers: &[usize]) -> Vec<usize> {
        let mut known: HashMap<&BTreeMap<String, String>, bool> = HashMap::new();
        let rivals: Vec<usize> = (0..self.queue.len())
            .filter(|at| {
                let job = &self.queue[*at];
                job.due
                    && *known
                        .entry(&job.labels)
                        .or_insert_with(|| workers.iter().any(|at| has(&self.workers[*at], &job.labels)))
            })
            .collect();
        let tickets: Vec<Ticket> = rivals.iter().map(|at| self.queue[*at].ticket).collect();
        let mut line = vec![0; rivals.len()];
        for (rival, place) in rivals.into_iter().zip(places(&tickets)) {
            line[place] = rival;
        }
        line
    }
}

/// The slots of these workers, and how many of them are busy.
fn room(workers: &[&Worker]) -> (u32, u32) {
    let slots = workers.iter().map(|worker| worker.slots).sum();
    (slots, workers.iter().map(|worker| worker.slots.min(worker.holds.len() as u32)).sum())
}

fn has(worker: &Worker, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(key, value)| worker.labels.get(key) == Some(value))
}

/// None of these workers takes jobs: says why not, by name for the first few.
fn unwell(workers: &[&Worker]) -> String {
    let said = workers.iter().take(NAMED).map(|worker| {
        let why = worker.condition.unwell.as_deref().unwrap_or_default();
        format!("{} takes no jobs: {why}", worker.name)
    });
    let mut said: Vec<String> = said.collect();
    match workers.len().saturating_sub(NAMED) {
        0 => {}
        1 => said.push("1 more worker takes no jobs".to_owned()),
        more => said.push(format!("{more} more workers take no jobs")),
    }
    said.join("; ")
}

fn in_the_way(group: &Group) -> String {
    let name = &group.name;
    match &group.holders[..] {
        [] => format!("is about to get its place in concurrency group {name}"),
        [one] => format!("concurrency group {name} held by build {one}"),
        several => {
            let numbers: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("concurrency group {name} held by builds {}", numbers.join(", "))
        }
    }
}

fn all_drain(workers: &[&Worker]) -> String {
    // Enough to know what to do about it.
    let names: Vec<&str> = workers.iter().take(5).map(|worker| worker.name.as_str()).collect();
    match (workers.len(), names.join(", ")) {
        (1, name) => format!("the only worker that may take it is draining: {name}"),
        (count, names) if count > 5 => {
            format!("all workers that may take it are draining: {names} and others")
        }
        (_, names) => format!("all workers that may take it are draining: {names}"),
    }
}

fn all_away(workers: &[&Worker]) -> String {
    let mut names: Vec<&str> = workers.iter().take(NAMED).map(|worker| worker.name.as_str()).collect();
    if workers.len() > NAMED {
        names.push("…");
    }
    format!("the workers that may take it are not connected: {}", names.join(", "))
}

fn nobody_has(workers: &[Worker], labels: &BTreeMap<String, String>) -> String {
    let lacking =
        labels.iter().find(|(key, value)| !workers.iter().any(|w| w.labels.get(*key) == Some(value)));
    if let Some((key, value)) = lacking {
        return format!("no worker has label {key}={value}");
    }
    let all: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("no worker has all the labels {}", all.join(", "))
}

fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

#[cfg(test)]
mod tests;
