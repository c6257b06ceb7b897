//! Numbers for Prometheus. Counters are counted where things happen; gauges are read from the
//! database when someone asks, so that they are right whichever server answers.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use ocelot_forge::OUTCOMES;
use ocelot_model::notify::Medium;
use ocelot_model::tally::ENDS;
use ocelot_model::{DeliveryState, EventKind, ForgeKind};
use ocelot_store::{Build, StoreError};

use crate::App;
use crate::builds::inbox::CLASSES;
use crate::builds::waiting::{STATES, is_draining, is_there, state};

/// Seconds from a blink to a long build.
const LONG: [f64; 14] =
    [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
/// Seconds of a request.
const SHORT: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The process's own recorder. Asked for before anything counts; `None` when it cannot be had.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER.get_or_init(|| make().inspect_err(|error| tracing::error!(%error, "no metrics")).ok()).as_ref()
}

fn make() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let long =
        ["ocelot_build_duration_seconds", "ocelot_stage_duration_seconds", "ocelot_queue_wait_seconds"];
    let mut builder = PrometheusBuilder::new().set_buckets(&SHORT)?;
    for name in long {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &LONG)?;
    }
    builder.install_recorder()
}

/// Begins to count. Several servers in one process share the numbers.
pub fn begin() {
    if recorder().is_none() {
        return;
    }
    metrics::describe_counter!("ocelot_builds_total", "Builds that ended, by status and event");
    metrics::describe_histogram!("ocelot_build_duration_seconds", "From started to finished");
    metrics::describe_histogram!("ocelot_stage_duration_seconds", "From a stage's start to its end");
    metrics::describe_histogram!(
        "ocelot_queue_wait_seconds",
        "How long a build waited for a worker; not for a person, nor for a place in its group"
    );
    metrics::describe_gauge!("ocelot_queue_depth", "Jobs that wait");
    metrics::describe_gauge!("ocelot_jobs_running", "Jobs that a worker has");
    metrics::describe_gauge!("ocelot_workers", "Workers, by state");
    metrics::describe_gauge!("ocelot_worker_slots", "Slots of connected workers, by state");
    metrics::describe_counter!("ocelot_leases_lost_total", "Attempts whose worker was lost");
    metrics::describe_counter!("ocelot_log_bytes_total", "Log bytes that became durable");
    metrics::describe_histogram!(
        "ocelot_log_lag_seconds",
        "From the writing of a byte to its being durable: on the worker by its clock, on the server by this one's, without \
         the way between them"
    );
    metrics::describe_counter!("ocelot_forge_requests_total", "Requests to forges, by forge and outcome");
    metrics::describe_gauge!("ocelot_log_viewers", "Open event streams of single builds that carry logs");
    metrics::describe_histogram!("ocelot_http_request_duration_seconds", "From request to answer");
    metrics::describe_histogram!("ocelot_db_query_duration_seconds", "Calls of the store, by name");
    metrics::describe_counter!("ocelot_webhooks_total", "Webhooks, by forge, event and what they were told");
    metrics::describe_histogram!(
        "ocelot_webhook_duration_seconds",
        "From a webhook's whole body to its answer"
    );
    metrics::describe_counter!(
        "ocelot_subscription_builds_total",
        "Builds made after one of another repository"
    );
    metrics::describe_counter!(
        "ocelot_deliveries_given_up_total",
        "Webhooks that came to no build, however often tried"
    );
    metrics::describe_gauge!("ocelot_queue_oldest_seconds", "Longest wait of a job that could be claimed");
    metrics::describe_gauge!(
        "ocelot_workers_unwell",
        "Workers that take no jobs, as their machine is not fit"
    );
    metrics::describe_gauge!("ocelot_worker_disk_free_ratio", "Free part of the fullest disk of a worker");
    metrics::describe_gauge!("ocelot_disk_free_bytes", "Free bytes where this server keeps its data");
    metrics::describe_gauge!("ocelot_disk_size_bytes", "All bytes there");
    metrics::describe_counter!(
        "ocelot_notifications_total",
        "Notifications, by kind and what came of sending one: sent, failed (it is tried again), given_up"
    );
    for medium in Medium::ALL {
        for outcome in ["sent", "failed", "given_up"] {
            let kind = medium.as_str();
            metrics::counter!("ocelot_notifications_total", "kind" => kind, "outcome" => outcome)
                .increment(0);
        }
    }
    for status in ENDS {
        for event in EventKind::ALL {
            let (status, event) = (status.as_str(), event.as_str());
            metrics::counter!("ocelot_builds_total", "status" => status, "event" => event).increment(0);
        }
    }
    // Zero is a number, too: what never happened is there to be drawn, and the first time is a change.
    metrics::counter!("ocelot_leases_lost_total").increment(0);
    metrics::counter!("ocelot_log_bytes_total").increment(0);
    metrics::counter!("ocelot_subscription_builds_total").increment(0);
    metrics::counter!("ocelot_deliveries_given_up_total").increment(0);
    metrics::gauge!("ocelot_log_viewers").increment(0.0);
}

/// A build is over.
pub fn build_ended(build: &Build) {
    let (status, event) = (build.status.as_str(), build.event.as_str());
    metrics::counter!("ocelot_builds_total", "status" => status, "event" => event).increment(1);
    if let Some(took) = build.took_ms() {
        metrics::histogram!("ocelot_build_duration_seconds").record(seconds(took));
    }
    if let Some(waited) = build.waited_ms() {
        metrics::histogram!("ocelot_queue_wait_seconds").record(seconds(waited));
    }
}

/// A stage ended after so many milliseconds.
pub fn stage_ended(ran: i64) {
    metrics::histogram!("ocelot_stage_duration_seconds").record(seconds(ran));
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A webhook was answered, this long after it had come whole. `forge` is one that is there.
pub fn webhook(forge: &str, event: &'static str, outcome: &'static str, took: Duration) {
    metrics::counter!("ocelot_webhooks_total", "forge" => forge.to_owned(), "event" => event, "outcome" => outcome)
        .increment(1);
    metrics::histogram!("ocelot_webhook_duration_seconds").record(took.as_secs_f64());
}

/// Sending a notification came to this.
pub fn notification(medium: Medium, outcome: &'static str) {
    metrics::counter!("ocelot_notifications_total", "kind" => medium.as_str(), "outcome" => outcome)
        .increment(1);
}

/// Log bytes became durable, the first of which was written at this time.
pub fn log_durable(bytes: u64, written: Option<Instant>) {
    metrics::counter!("ocelot_log_bytes_total").increment(bytes);
    if let Some(written) = written {
        metrics::histogram!("ocelot_log_lag_seconds").record(written.elapsed().as_secs_f64());
    }
}

/// Everything, as Prometheus reads it.
pub async fn render(app: &App) -> Result<String, StoreError> {
    let Some(recorder) = recorder() else { return Ok(String::new()) };
    fleet(app).await?;
    forges(app).await?;
    disk(app).await;
    recorder.run_upkeep();
    let mut text = recorder.render();
    process(&mut text);
    Ok(text)
}

async fn fleet(app: &App) -> Result<(), StoreError> {
    let workers = app.store.list_workers().await?;
    metrics::gauge!("ocelot_queue_depth").set(app.store.queue_depth().await? as f64);
    metrics::gauge!("ocelot_queue_oldest_seconds").set(app.store.longest_wait().await?.as_secs_f64());
    let running: usize = workers.iter().map(|worker| worker.holds.len()).sum();
    metrics::gauge!("ocelot_jobs_running").set(running as f64);
    for name in STATES {
        let count = workers.iter().filter(|worker| state(worker) == name).count();
        metrics::gauge!("ocelot_workers", "state" => name).set(count as f64);
    }
    let there = || workers.iter().filter(|worker| is_there(worker));
    let unwell = there().filter(|worker| worker.condition.unwell.is_some()).count();
    metrics::gauge!("ocelot_workers_unwell").set(unwell as f64);
    let free =
        there().filter_map(|worker| worker.condition.disk).map(|(free, all)| free as f64 / all.max(1) as f64);
    // Nobody's disk is full.
    metrics::gauge!("ocelot_worker_disk_free_ratio").set(free.fold(1.0, f64::min));
    let mut slots = std::collections::BTreeMap::from([("busy", 0), ("free", 0), ("draining", 0)]);
    for worker in there() {
        let busy = worker.slots.min(worker.holds.len() as u32);
        // What is free on a draining worker is nobody's to have.
        let rest = if is_draining(worker) { "draining" } else { "free" };
        *slots.entry("busy").or_default() += busy;
        *slots.entry(rest).or_default() += worker.slots - busy;
    }
    for (name, count) in slots {
        metrics::gauge!("ocelot_worker_slots", "state" => name).set(f64::from(count));
    }
    Ok(())
}

/// What has not happened yet is there to be compared with, for each forge that sends webhooks and is asked.
async fn forges(app: &App) -> Result<(), StoreError> {
    for forge in app.store.list_forges().await?.into_iter().filter(|forge| forge.kind != ForgeKind::Git) {
        let webhook = |event: &'static str, outcome: &'static str| {
            metrics::counter!("ocelot_webhooks_total", "forge" => forge.name.clone(), "event" => event, "outcome" => outcome)
                .increment(0);
        };
        ["unauthorized", "malformed", "error"].into_iter().for_each(|outcome| webhook("none", outcome));
        for event in CLASSES {
            DeliveryState::ALL.into_iter().for_each(|state| webhook(event, state.as_str()));
        }
        for outcome in OUTCOMES {
            let name = forge.name.clone();
            metrics::counter!("ocelot_forge_requests_total", "forge" => name, "outcome" => outcome)
                .increment(0);
        }
    }
    Ok(())
}

/// A disk that does not answer keeps nobody waiting for the other numbers.
async fn disk(app: &App) {
    let data = app.config.data.clone();
    let look = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&data));
    if let Ok(Ok(Ok(disk))) = tokio::time::timeout(Duration::from_secs(2), look).await {
        metrics::gauge!("ocelot_disk_free_bytes").set((disk.f_bavail * disk.f_frsize) as f64);
        metrics::gauge!("ocelot_disk_size_bytes").set((disk.f_blocks * disk.f_frsize) as f64);
    }
}

/// What the kernel says about this process. Elsewhere than on Linux it says nothing. Written here, as a counter of the recorder
/// counts whole numbers only.
fn process(text: &mut String) {
    const PAGE: f64 = 4096.0;
    const TICKS: f64 = 100.0;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut put = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    };
    let memory = read("/proc/self/statm");
    if let Some(pages) = memory.split(' ').nth(1).and_then(|text| text.parse::<f64>().ok()) {
        put("process_resident_memory_bytes", "gauge", "Memory that this server has", pages * PAGE);
    }
    // Fields are counted after the name of the program, which may hold anything.
    let stat = read("/proc/self/stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    if let (Some(user), Some(system)) = (field(&fields, 11), field(&fields, 12)) {
        let used = (user + system) / TICKS;
        put("process_cpu_seconds_total", "counter", "Processor time that this server used", used);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        put("process_open_fds", "gauge", "Files that this server has open", open.count() as f64);
    }
}

fn field(fields: &[&str], at: usize) -> Option<f64> {
    fields.get(at)?.parse().ok()
}
