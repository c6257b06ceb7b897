//! Backup from one database while it is used, restore into one of the other kind.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::build::Happening;
use ocelot_model::{BuildNumber, StageId, Status};
use ocelot_store::{BackupError, Mark, Store, StoreError};
use sha2::{Digest as _, Sha256};

use crate::bed::{Bed, finished, new_repo};

both!(
    a_backup_is_restored_into_the_other_database,
    what_is_restored_gives_the_same_backup,
    what_lies_in_the_log_store_is_taken_along,
    logs_that_are_not_where_they_should_be_are_said,
    logs_may_be_left_out,
    a_file_that_is_not_whole_changes_nothing,
    only_an_empty_database_is_filled,
);

/// An empty store of the other kind.
async fn other(bed: &Bed) -> Bed {
    if bed.is_shared() { Bed::sqlite().await } else { Bed::postgres().await }
}

async fn back_up(bed: &Bed, logs: bool) -> PathBuf {
    let path = bed.folder.path().join("backup");
    Store::back_up(&bed.options, logs, File::create(&path).unwrap()).await.unwrap();
    path
}

async fn write_log(store: &Store, stage: StageId, text: &[u8]) {
    let marks = [Mark { at: 0, time_us: 1_000_000 }];
    store.append_log(stage, 0, text, &marks).await.unwrap();
    store.finish_log(stage, text.len() as u64, &Sha256::digest(text)).await.unwrap();
}

async fn read_log(store: &Store, stage: StageId) -> Vec<u8> {
    store.read_log(stage, 0, 1 << 20).await.unwrap().data
}

/// A build that passed and left a log, with that log's stage.
async fn passed(bed: &Bed, text: &[u8]) -> (BuildNumber, StageId) {
    let worker = bed.worker("done", "os=plan9").await;
    let number = bed.build("old@os=plan9").await.build.number;
    let job = bed.claim(worker).await.unwrap();
    bed.store.accept(&job.lease).await.unwrap();
    let stage = job.stages[1].0;
    write_log(&bed.store, stage, text).await;
    bed.store.advance(number, finished(&job, Status::Passed)).await.unwrap();
    (number, stage)
}

/// Bytes of every value, some of which JSON has to escape, too many to be shrunk to nothing.
fn noise() -> Vec<u8> {
    (0..400_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn a_backup_is_restored_into_the_other_database(bed: Bed) {
    let noise = noise();
    let (old, stage) = passed(&bed, &noise).await;
    let worker = bed.worker("w", "os=linux").await;
    let number = bed.build("held@os=linux offered@os=linux next<held@os=linux").await.build.number;
    let held = bed.claim(worker).await.unwrap();
    bed.store.accept(&held.lease).await.unwrap();
    bed.store.append_log(held.stages[0].0, 0, b"half a log", &[]).await.unwrap();
    let offered = bed.claim(worker).await.unwrap();
    let (token, secret) =
        bed.store.create_token("ann", Role::Write, &["git/app".into()], None, "tests").await.unwrap();
    let session = bed.store.create_session(token.id, Duration::from_hours(1)).await.unwrap();
    bed.store.pause("ann", Some("\"quotes\", \\ and\nlines")).await.unwrap();
    let file = back_up(&bed, true).await;
    // What happens after the backup is not in it.
    bed.build("later").await;

    let target = other(&bed).await;
    let about = Store::restore(&target.options, &file).await.unwrap();
    assert!(about.logs);
    let target = Bed { store: target.second().await, ..target };
    let store = &target.store;
    assert_eq!(store.instance(), bed.store.instance());
    assert_eq!(target.picture(old).await, "passed: old passed");
    assert_eq!(store.find_build(old).await.unwrap(), bed.store.find_build(old).await.unwrap());
    assert_eq!(read_log(store, stage).await, noise);
    assert!(store.log_state(stage).await.unwrap().complete);
    assert_eq!(read_log(store, held.stages[0].0).await, b"half a log");
    assert_eq!(store.paused().await.unwrap(), bed.store.paused().await.unwrap());
    assert_eq!(store.find_token(&secret).await.unwrap().unwrap().name, "ann");
    assert!(store.find_session(&session).await.unwrap().is_none());
    assert!(store.list_workers().await.unwrap().iter().all(|worker| !worker.connected));
    // What was held is tried again, what was only offered waits as it did; whoever had either has nothing now.
    assert_eq!(target.picture(number).await, "running: held queued#2, offered queued, next queued");
    let lost = &store.find_build_detail(number).await.unwrap().unwrap().jobs[0].attempts[0];
    assert!(lost.reason.as_deref().unwrap().contains("restored from a backup"), "{lost:?}");
    for lease in [&held.lease, &offered.lease] {
        assert!(matches!(store.check_lease(lease).await, Err(StoreError::Stale)));
        assert!(matches!(store.accept(lease).await, Err(StoreError::Stale)));
    }
    // The numbers of what was lost are not given again.
    let newest = store.list_builds(&ocelot_store::BuildFilter::default(), 1).await.unwrap()[0].number.0;
    let next = target.build("new@os=plan9").await;
    assert_eq!(next.build.number.0, newest + 1000);
    assert!(next.jobs[0].attempts[0].stages[0].id.0 > stage.0 + 1_000_000 - 100);
    store.unpause("tests").await.unwrap();
    goes_on(&target, number).await;
}

/// The restored build comes to its end.
async fn goes_on(target: &Bed, number: BuildNumber) {
    let worker = target.worker("back", "os=linux").await;
    for want in ["held", "offered", "next"] {
        let claim = async || target.claim(worker).await;
        let job = ocelot_testkit::wait_for("the next job", claim).await;
        assert_eq!(job.spec.name, want);
        target.store.advance(number, finished(&job, Status::Passed)).await.unwrap();
    }
    assert!(target.picture(number).await.starts_with("passed"));
}

/// The lines of a backup but the first, which has its time, and the last, which follows from the others.
fn lines(path: &Path) -> Vec<String> {
    let text = zstd::stream::read::Decoder::new(File::open(path).unwrap()).unwrap();
    let mut lines: Vec<String> = BufReader::new(text).lines().map(Result::unwrap).collect();
    lines.pop();
    lines.remove(0);
    lines
}

async fn what_is_restored_gives_the_same_backup(bed: Bed) {
    passed(&bed, &noise()).await;
    bed.build("one two<one three^3@os=linux").await;
    bed.build("four").await;
    bed.store.add_repo(&new_repo("git/other"), "tests").await.unwrap();
    for worker in bed.store.list_workers().await.unwrap() {
        bed.store.worker_goodbye(worker.id).await.unwrap();
    }
    let first = back_up(&bed, true).await;
    let target = other(&bed).await;
    Store::restore(&target.options, &first).await.unwrap();
    let again = target.folder.path().join("again");
    Store::back_up(&target.options, true, File::create(&again).unwrap()).await.unwrap();
    let (first, again): (Vec<_>, Vec<_>) = (
        lines(&first).iter().map(|line| line.replace(", ", ",")).collect(),
        lines(&again).iter().map(|line| line.replace(", ", ",")).collect(),
    );
    assert_eq!(first, again);
}

async fn what_lies_in_the_log_store_is_taken_along(bed: Bed) {
    let noise = noise();
    let (_, stored) = passed(&bed, &noise).await;
    assert!(bed.store.copy_log(stored, Duration::ZERO).await.unwrap());
    assert_eq!(bed.store.drop_copied(10).await.unwrap(), 1);
    // This one is in both places still.
    let copied = StageId(stored.0 + 1);
    write_log(&bed.store, copied, b"short").await;
    assert!(bed.store.copy_log(copied, Duration::from_hours(1)).await.unwrap());
    let file = back_up(&bed, true).await;
    let target = other(&bed).await;
    Store::restore(&target.options, &file).await.unwrap();
    let store = target.second().await;
    assert_eq!((read_log(&store, stored).await, read_log(&store, copied).await), (noise, b"short".to_vec()));
    assert!(store.log_state(stored).await.unwrap().complete);
    // They go on to the new one's log store.
    assert_eq!(store.logs_to_copy(StageId(0), 10).await.unwrap(), [stored, copied]);
    assert!(store.copy_log(stored, Duration::ZERO).await.unwrap());
}

async fn logs_that_are_not_where_they_should_be_are_said(bed: Bed) {
    let (_, stage) = passed(&bed, b"kept").await;
    assert!(bed.store.copy_log(stage, Duration::ZERO).await.unwrap());
    assert_eq!(bed.store.drop_copied(10).await.unwrap(), 1);
    let (missing, empty) = (bed.folder.path().join("missing"), bed.folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    for folder in [&missing, &empty] {
        let mut options = bed.options.clone();
        options.log_store.place = Some(format!("file://{}", folder.display()).parse().unwrap());
        let error = Store::back_up(&options, true, Vec::new()).await.unwrap_err().to_string();
        assert!(error.contains("--log-store"), "{error}");
        Store::back_up(&options, false, Vec::new()).await.unwrap();
    }
    assert!(!missing.exists());
}

async fn logs_may_be_left_out(bed: Bed) {
    let (_, stage) = passed(&bed, b"secret plans").await;
    let file = back_up(&bed, false).await;
    assert!(!lines(&file).concat().contains("log_chunks"));
    let target = other(&bed).await;
    assert!(!Store::restore(&target.options, &file).await.unwrap().logs);
    let store = target.second().await;
    let text = String::from_utf8(read_log(&store, stage).await).unwrap();
    assert!(text.contains("left out of the backup"), "{text}");
    let state = store.log_state(stage).await.unwrap();
    assert_eq!((state.bytes, state.complete, state.removed), (text.len() as u64, true, true));
}

async fn a_file_that_is_not_whole_changes_nothing(bed: Bed) {
    passed(&bed, &noise()).await;
    let file = back_up(&bed, true).await;
    let whole = std::fs::read(&file).unwrap();
    let target = other(&bed).await;
    for bytes in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], b"", b"PK\x03\x04"] {
        std::fs::write(&file, bytes).unwrap();
        let error = Store::restore(&target.options, &file).await.unwrap_err();
        assert!(matches!(error, BackupError::Damaged(_)), "{error}");
    }
    assert_eq!(target.store.list_repos().await.unwrap(), []);
    // It may well be tried again with a good one.
    std::fs::write(&file, &whole).unwrap();
    Store::restore(&target.options, &file).await.unwrap();
}

async fn only_an_empty_database_is_filled(bed: Bed) {
    let number = bed.build("a").await.build.number;
    let file = back_up(&bed, true).await;
    let target = other(&bed).await;
    target.store.create_token("ann", Role::Admin, &[], None, "tests").await.unwrap();
    let error = Store::restore(&target.options, &file).await.unwrap_err().to_string();
    assert!(error.contains("not empty") && error.contains("tokens"), "{error}");
    assert!(target.store.find_build(number).await.unwrap().is_none());
    // A build that is cancelled ends there, too: the backup took nothing away from where it was made.
    let cancel = Happening::CancelRequested { reason: "ann".into() };
    bed.store.advance(number, cancel).await.unwrap();
    assert!(bed.picture(number).await.starts_with("cancelled"));
}
