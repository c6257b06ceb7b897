//! Finished logs in the log store: they read as before, and nothing is lost or left over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelot_model::{StageId, Status};
use ocelot_store::{
    Claimed, LogError, LogPlace, LogSlice, LogStoreOptions, Mark, Options, StageUpdate, Store, StoreError,
};
use ocelot_testkit::S3;
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;

use crate::bed::{Bed, LONG, finished};

both!(
    a_copied_log_reads_as_before,
    a_copied_log_is_written_once,
    its_chunks_stay_for_a_while,
    a_deleted_log_is_in_no_blob,
    removed_builds_leave_no_blob,
    what_an_older_server_removes_goes_too,
    what_a_killed_server_left_is_swept,
    a_changed_blob_is_not_shown,
    the_bucket_is_away_and_comes_back,
    another_folder_is_refused,
    a_folder_that_is_gone_takes_no_log,
);

const STAGE: StageId = StageId(7);

/// Lines of different lengths, with a mark of time for every piece of them.
fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("line {n} {}\n", "x".repeat(n % 50)).into_bytes()).collect()
}

/// A complete log in pieces whose borders fit nothing.
async fn write(store: &Store, stage: StageId, log: &[u8]) {
    let mut at = 0;
    for piece in log.chunks(99_991) {
        let marks = [Mark { at: 0, time_us: at as i64 }, Mark { at: 7, time_us: -(at as i64) }];
        store.append_log(stage, at, piece, &marks).await.unwrap();
        at += piece.len() as u64;
    }
    store.finish_log(stage, at, &Sha256::digest(log)).await.unwrap();
}

/// Copies it and takes it out of the database.
async fn put_away(store: &Store, stage: StageId) {
    assert!(store.copy_log(stage, Duration::ZERO).await.unwrap());
    assert_eq!(store.drop_copied(10).await.unwrap(), 1);
}

async fn read(store: &Store, stage: StageId, offset: u64, max: usize) -> LogSlice {
    let mut all = LogSlice { offset, data: Vec::new(), marks: Vec::new() };
    while all.data.len() < max {
        let at = all.data.len();
        let some = store.read_log(stage, offset + at as u64, max - at).await.unwrap();
        if some.data.is_empty() {
            break;
        }
        all.marks.extend(some.marks.into_iter().map(|mark| Mark { at: mark.at + at as u32, ..mark }));
        all.data.extend(some.data);
    }
    all
}

/// The time of each byte, however many marks say it.
fn times(slice: &LogSlice) -> Vec<i64> {
    let mut marks = slice.marks.iter().peekable();
    let mut time = 0;
    let mut at = |at: usize| {
        while let Some(mark) = marks.next_if(|mark| mark.at as usize <= at) {
            time = mark.time_us;
        }
        time
    };
    (0..slice.data.len()).map(&mut at).collect()
}

fn folder(bed: &Bed) -> PathBuf {
    bed.options.data.join("log-store")
}

/// Blobs, whole or not.
fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(blobs(&path));
        } else if path.to_string_lossy().contains(".zst") {
            found.push(path);
        }
    }
    found
}

impl Bed {
    /// Runs SQL that no server would, on the database with the logs.
    async fn logs_sql(&self, sql: &'static str) {
        if self.is_shared() {
            let mut conn = sqlx::PgConnection::connect(&self.options.database_url).await.unwrap();
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        } else {
            let url = format!("sqlite://{}/logs.db", self.options.data.display());
            let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::query(sql).execute(&mut conn).await.unwrap();
        }
    }
}

async fn a_copied_log_reads_as_before(bed: Bed) {
    let store = &bed.store;
    let log = lines(40_000);
    write(store, STAGE, &log).await;
    let ranges = [(0, 100), (262_140, 10), (log.len() - 5, 100), (300_000, 700_000), (0, log.len())];
    let mut before = Vec::new();
    for (offset, max) in ranges {
        before.push(read(store, STAGE, offset as u64, max).await);
    }
    let state = store.log_state(STAGE).await.unwrap();
    let tails = [0, 1, 2, 200, 39_999, 40_000, 40_001, 99_999];
    let mut begins = Vec::new();
    for lines in tails {
        begins.push(store.log_tail(STAGE, state.bytes, lines).await.unwrap());
    }
    assert_eq!(begins[0], state.bytes);
    assert_eq!(begins[1], state.bytes - log.rsplit(|b| *b == b'\n').nth(1).unwrap().len() as u64 - 1);
    assert_eq!(begins[5..], [0, 0, 0]);
    assert_eq!(store.log_lines(STAGE, state.bytes, 1000).await.unwrap(), None);
    put_away(store, STAGE).await;
    assert_eq!(bed.log_rows(STAGE).await, 0);
    assert_eq!(store.log_state(STAGE).await.unwrap(), state);
    for ((offset, max), before) in ranges.iter().zip(&before) {
        let now = read(store, STAGE, *offset as u64, *max).await;
        assert!(now.data == before.data && times(&now) == times(before), "{offset}+{max}");
    }
    for (lines, begin) in tails.iter().zip(&begins) {
        assert_eq!(store.log_tail(STAGE, state.bytes, *lines).await.unwrap(), *begin, "the last {lines}");
    }
    let middle = begins[3];
    assert_eq!(store.log_lines(STAGE, middle, 300_000).await.unwrap(), Some(40_000 - 200));
    assert_eq!(store.read_log(STAGE, state.bytes, 10).await.unwrap().data, b"");
    assert_eq!(bed.second().await.read_log(STAGE, 5, 2).await.unwrap().data, log[5..7]);
    // A part of a log has its own end.
    assert_eq!(store.log_tail(STAGE, begins[1], 1).await.unwrap(), begins[2]);
}

async fn a_copied_log_is_written_once(bed: Bed) {
    let store = &bed.store;
    let log = lines(20_000);
    write(store, STAGE, &log).await;
    assert_eq!(store.logs_to_copy(StageId(0), 10).await.unwrap(), [STAGE]);
    // Two servers at the same time.
    let other = bed.second().await;
    let (one, two) =
        tokio::join!(store.copy_log(STAGE, Duration::ZERO), other.copy_log(STAGE, Duration::ZERO));
    assert_ne!(one.unwrap(), two.unwrap());
    assert_eq!(store.drop_copied(10).await.unwrap(), 1);
    assert_eq!((store.drop_copied(10).await.unwrap(), bed.log_rows(STAGE).await), (0, 0));
    assert_eq!(blobs(&folder(&bed)).len(), 1);
    assert_eq!(store.logs_to_copy(StageId(0), 10).await.unwrap(), []);
    assert!(!store.copy_log(STAGE, Duration::ZERO).await.unwrap());
    assert_eq!((blobs(&folder(&bed)).len(), store.sweep_blobs(10).await.unwrap()), (1, 0));
    // A worker that was restarted sends all of it again, to a server that was restarted too.
    let again = bed.second().await;
    for store in [store, &again] {
        write(store, STAGE, &log).await;
        let end = log.len() as u64;
        assert!(matches!(store.append_log(STAGE, end, b"more", &[]).await, Err(LogError::Conflict(_))));
        assert!(matches!(store.finish_log(STAGE, end, &[0; 32]).await, Err(LogError::Conflict(_))));
    }
    assert_eq!(bed.log_rows(STAGE).await, 0);
    // Logs that are not complete stay where they are.
    store.append_log(StageId(8), 0, b"half", &[]).await.unwrap();
    assert_eq!(store.logs_to_copy(StageId(0), 10).await.unwrap(), []);
    assert!(!store.copy_log(StageId(8), Duration::ZERO).await.unwrap());
    assert_eq!(blobs(&folder(&bed)).len(), 1);
}

async fn its_chunks_stay_for_a_while(bed: Bed) {
    let store = &bed.store;
    write(store, STAGE, &lines(100)).await;
    assert!(store.copy_log(STAGE, LONG).await.unwrap());
    assert_eq!((store.drop_copied(10).await.unwrap(), bed.log_rows(STAGE).await), (0, 1));
    let [blob] = blobs(&folder(&bed)).try_into().unwrap();
    std::fs::remove_file(blob).unwrap();
    assert_eq!(store.read_log(STAGE, 0, 6).await.unwrap().data, b"line 0");
}

/// A stage that is over, in a job that its worker still holds.
async fn over(bed: &Bed, log: &[u8]) -> (StageId, Claimed) {
    bed.build("a").await;
    let worker = bed.worker("w", "").await;
    let claimed = bed.claim(worker).await.unwrap();
    let id = claimed.stages[1].0;
    for status in [Status::Running, Status::Passed] {
        let update = StageUpdate { id, status, exit_code: None, duration_ms: None, reason: None };
        bed.store.set_stage(&claimed.lease, &update).await.unwrap();
    }
    write(&bed.store, id, log).await;
    (id, claimed)
}

async fn a_deleted_log_is_in_no_blob(bed: Bed) {
    let store = &bed.store;
    let log = lines(20_000);
    let (stage, _) = over(&bed, &log).await;
    // The chunks are still there, too.
    assert!(store.copy_log(stage, LONG).await.unwrap());
    assert_eq!(blobs(&folder(&bed)).len(), 1);
    store.remove_log(stage, "deleted by ann", "tests").await.unwrap();
    assert_eq!(blobs(&folder(&bed)), Vec::<PathBuf>::new());
    assert_eq!((bed.log_rows(stage).await, store.drop_copied(10).await.unwrap()), (1, 0));
    assert_eq!(read(store, stage, 0, 1000).await.data, b"deleted by ann\n");
    assert_eq!(read(store, stage, 100_000, 1000).await.data, b"");
    assert_eq!(store.log_tail(stage, 15, 1).await.unwrap(), 0);
    // A note is not copied.
    assert_eq!(store.logs_to_copy(StageId(0), 10).await.unwrap(), []);
    assert!(!store.copy_log(stage, Duration::ZERO).await.unwrap());
    assert_eq!(blobs(&folder(&bed)), Vec::<PathBuf>::new());
}

async fn removed_builds_leave_no_blob(bed: Bed) {
    let store = &bed.store;
    let (stage, claimed) = over(&bed, &lines(1000)).await;
    put_away(store, stage).await;
    let number = claimed.build.number;
    store.advance(number, finished(&claimed, Status::Passed)).await.unwrap();
    store.remove_repo(claimed.build.repo.id, "tests").await.unwrap();
    assert_eq!(store.read_log(stage, 0, 10).await.unwrap().data, b"");
    assert_eq!(blobs(&folder(&bed)).len(), 1);
    assert_eq!((store.sweep_blobs(10).await.unwrap(), store.sweep_blobs(10).await.unwrap()), (1, 0));
    assert_eq!(blobs(&folder(&bed)), Vec::<PathBuf>::new());
}

async fn what_an_older_server_removes_goes_too(bed: Bed) {
    let store = &bed.store;
    for stage in 7..10 {
        write(store, StageId(stage), &lines(10)).await;
        put_away(store, StageId(stage)).await;
    }
    // It knows neither the column nor the table.
    bed.logs_sql("UPDATE stage_logs SET removed = true, bytes = 5 WHERE stage_id = 7").await;
    bed.logs_sql("DELETE FROM stage_logs WHERE stage_id = 8").await;
    assert_eq!(store.read_log(STAGE, 0, 10).await.unwrap().data, b"");
    assert_eq!(store.sweep_blobs(10).await.unwrap(), 0);
    store.free_blobs().await.unwrap();
    assert_eq!(store.sweep_blobs(10).await.unwrap(), 2);
    assert_eq!(blobs(&folder(&bed)).len(), 1);
    assert_eq!(store.read_log(StageId(9), 0, 6).await.unwrap().data, b"line 0");
}

async fn what_a_killed_server_left_is_swept(bed: Bed) {
    let store = &bed.store;
    let place = folder(&bed).join("left/0");
    std::fs::create_dir_all(&place).unwrap();
    // Killed after the blob was whole, and while it was written.
    for name in ["7-a.zst", "7-b.zst#1", "7-c.zst"] {
        std::fs::write(place.join(name), b"half").unwrap();
    }
    bed.logs_sql("INSERT INTO log_blobs (name, stage_id, began_at) VALUES ('left/0/7-a.zst', 7, 1)").await;
    bed.logs_sql("INSERT INTO log_blobs (name, stage_id, began_at) VALUES ('left/0/7-b.zst', 7, 1)").await;
    // One that was just begun.
    let late =
        "INSERT INTO log_blobs (name, stage_id, began_at) VALUES ('left/0/7-c.zst', 7, 9000000000000000)";
    bed.logs_sql(late).await;
    assert_eq!((store.sweep_blobs(10).await.unwrap(), store.sweep_blobs(10).await.unwrap()), (2, 0));
    assert_eq!(blobs(&folder(&bed)), [place.join("7-c.zst")]);
}

async fn a_changed_blob_is_not_shown(bed: Bed) {
    let store = &bed.store;
    write(store, STAGE, &lines(20_000)).await;
    put_away(store, STAGE).await;
    let [blob] = blobs(&folder(&bed)).try_into().unwrap();
    let good = std::fs::read(&blob).unwrap();
    let mut bad = good.clone();
    bad[5000] ^= 1;
    std::fs::write(&blob, &bad).unwrap();
    let fresh = bed.second().await;
    let error = fresh.read_log(STAGE, 0, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("changed"), "{error}");
    std::fs::write(&blob, &good[..good.len() - 1]).unwrap();
    assert!(matches!(bed.second().await.read_log(STAGE, 0, 10).await, Err(StoreError::Corrupt(_))));
    std::fs::remove_file(&blob).unwrap();
    let error = bed.second().await.read_log(STAGE, 0, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::LogMissing(_)), "{error:?}");
    assert!(error.to_string().contains("missing in the log store file:///"), "{error}");
}

/// The same database with its logs in this bucket.
fn in_bucket(bed: &Bed, s3: &S3) -> Options {
    let log_store = LogStoreOptions { place: Some(s3.url().parse().unwrap()), variables: s3.variables() };
    Options { log_store, ..bed.options.clone() }
}

async fn the_bucket_is_away_and_comes_back(bed: Bed) {
    let mut s3 = S3::start().await;
    // The folder of the bed was never used.
    bed.store.close().await;
    let options = in_bucket(&bed, &s3);
    assert!(!format!("{options:?}").contains(S3::secret()));
    let store = Store::open(&options).await.unwrap();
    // More than one part, and bytes that do not shrink much.
    let mut log = Vec::new();
    let mut word = [0; 32];
    while log.len() < 10 << 20 {
        word = Sha256::digest(word).into();
        log.extend(word.map(|byte| if byte == 0 { b'\n' } else { byte }));
    }
    for (at, piece) in (0..).step_by(1 << 20).zip(log.chunks(1 << 20)) {
        store.append_log(STAGE, at, piece, &[]).await.unwrap();
    }
    store.finish_log(STAGE, log.len() as u64, &Sha256::digest(&log)).await.unwrap();
    store.ping_log_store().await.unwrap();
    s3.stop().await;
    let error = store.copy_log(STAGE, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, StoreError::LogStore(_)) && !error.to_string().contains(S3::secret()), "{error}");
    assert!(store.read_log(STAGE, 17, 100).await.unwrap().data == log[17..117]);
    // One that starts meanwhile waits for it.
    let late = Store::open(&options).await.unwrap();
    assert!(matches!(late.ping_log_store().await, Err(StoreError::LogStore(_))));
    s3.start_again().await;
    put_away(&late, STAGE).await;
    assert!(store.read_log(STAGE, 9_999_999, 300_000).await.unwrap().data == log[9_999_999..10_299_999]);
    // What the first try may have left is known, and goes when its time has come.
    bed.logs_sql("UPDATE log_blobs SET began_at = 1 WHERE NOT stored").await;
    store.sweep_blobs(10).await.unwrap();
    assert_eq!(blobs(&s3.bucket()).len(), 1);
    s3.stop().await;
    let error = late.read_log(STAGE, 0, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::LogStore(_)), "{error}");
}

#[tokio::test]
async fn a_secret_in_a_bucket_that_is_away_goes_when_it_is_back() {
    let bed = Bed::sqlite().await;
    bed.store.close().await;
    let mut s3 = S3::start().await;
    let store = Store::open(&in_bucket(&bed, &s3)).await.unwrap();
    let bed = Bed { store, ..bed };
    let (stage, _) = over(&bed, &lines(1000)).await;
    put_away(&bed.store, stage).await;
    s3.stop().await;
    let error = bed.store.remove_log(stage, "deleted by ann", "tests").await.unwrap_err();
    assert!(error.to_string().contains("readers get the note already"), "{error}");
    assert_eq!(read(&bed.store, stage, 0, 100).await.data, b"deleted by ann\n");
    assert_eq!(blobs(&s3.bucket()).len(), 1);
    s3.start_again().await;
    bed.store.remove_log(stage, "deleted by ann", "tests").await.unwrap();
    assert_eq!(blobs(&s3.bucket()).len(), 0);
}

async fn another_folder_is_refused(bed: Bed) {
    let elsewhere = |name: &str, shared: bool, place: &Path| {
        let place = LogPlace::Folder { path: place.to_owned(), shared };
        let log_store = LogStoreOptions { place: Some(place), variables: Vec::new() };
        let data = if bed.is_shared() { bed.folder.path().join(name) } else { bed.options.data.clone() };
        Options { log_store, data, ..bed.options.clone() }
    };
    let refused = async |options: Options, words: &str| {
        let error = Store::open(&options).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)) && error.to_string().contains(words), "{error}");
    };
    write(&bed.store, STAGE, &lines(10)).await;
    put_away(&bed.store, STAGE).await;
    let (ours, other) = (folder(&bed), bed.folder.path().join("other"));
    if bed.is_shared() {
        // Another server, on the same folder or on its own.
        refused(elsewhere("b", false, &ours), "--log-store-shared").await;
        refused(elsewhere("b", true, &ours), "--log-store-shared").await;
        bed.store.close().await;
        let first = Store::open(&elsewhere("data", true, &ours)).await.unwrap();
        refused(elsewhere("b", false, &ours), "--log-store-shared").await;
        refused(elsewhere("b", true, &other), "Is the right folder mounted?").await;
        let second = Store::open(&elsewhere("b", true, &ours)).await.unwrap();
        assert_eq!(second.read_log(STAGE, 0, 6).await.unwrap().data, b"line 0");
        first.close().await;
        second.close().await;
    }
    bed.store.close().await;
    refused(elsewhere("c", false, &other), "Is the right folder mounted?").await;
    // All of it was copied there.
    std::fs::create_dir_all(&other).unwrap();
    let copied =
        std::process::Command::new("cp").arg("-r").arg(format!("{}/.", ours.display())).arg(&other).status();
    assert!(copied.unwrap().success());
    let moved = Store::open(&elsewhere("c", false, &other)).await.unwrap();
    assert_eq!(moved.read_log(STAGE, 0, 6).await.unwrap().data, b"line 0");
}

/// As when it is unmounted under the server: what is left is an empty folder of the same name.
async fn a_folder_that_is_gone_takes_no_log(bed: Bed) {
    let log = lines(100);
    write(&bed.store, STAGE, &log).await;
    assert!(bed.store.copy_log(STAGE, Duration::ZERO).await.unwrap());
    write(&bed.store, StageId(8), &log).await;
    let (folder, away) = (folder(&bed), bed.folder.path().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let errors = [
        bed.store.drop_copied(10).await.unwrap_err(),
        bed.store.copy_log(StageId(8), Duration::ZERO).await.unwrap_err(),
        bed.store.ping_log_store().await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(&error, StoreError::LogStore(words) if words.contains("mounted")), "{error}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(bed.store.drop_copied(10).await.unwrap(), 1);
    assert_eq!(read(&bed.store, STAGE, 0, log.len()).await.data, log);
}
