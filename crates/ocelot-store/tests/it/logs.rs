//! Logs are bytes, durable before they are acknowledged.

use ocelot_model::{StageId, Status};
use ocelot_store::{Claimed, LogError, LogSlice, LogState, Mark, StageUpdate, Store, StoreError};
use sha2::{Digest as _, Sha256};

use crate::bed::{Bed, finished};

both!(
    overlap_gap_and_conflict,
    the_end_is_checked,
    a_log_survives_a_restart,
    marks_stay_where_they_were,
    many_stages_at_once,
    durable_bytes_show_on_stages,
    a_deleted_log_is_a_note,
    a_log_that_may_grow_is_not_deleted,
    a_deleted_log_leaves_the_journal_when_its_readers_do,
);

const STAGE: StageId = StageId(7);

async fn append(store: &Store, offset: u64, data: &[u8]) -> String {
    match store.append_log(STAGE, offset, data, &[]).await {
        Ok(durable) => format!("{durable}"),
        Err(LogError::Gap { durable }) => format!("gap {durable}"),
        Err(LogError::Conflict(_)) => "conflict".into(),
        Err(error @ LogError::Store(_)) => panic!("{error}"),
    }
}

async fn finish(store: &Store, total: u64, data: &[u8]) -> String {
    match store.finish_log(STAGE, total, &Sha256::digest(data)).await {
        Ok(()) => "ended".into(),
        Err(LogError::Gap { durable }) => format!("gap {durable}"),
        Err(LogError::Conflict(_)) => "conflict".into(),
        Err(error @ LogError::Store(_)) => panic!("{error}"),
    }
}

/// Bytes that do not repeat early and do not compress to nothing.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        b'a' + (state % 23) as u8
    };
    (0..len).map(|_| byte()).collect()
}

async fn overlap_gap_and_conflict(bed: Bed) {
    let store = &bed.store;
    assert_eq!(append(store, 3, b"defg").await, "gap 0");
    assert_eq!(append(store, 0, b"abc").await, "3");
    assert_eq!(append(store, 0, b"abc").await, "3");
    assert_eq!(append(store, 4, b"e").await, "gap 3");
    assert_eq!(append(store, 1, b"bcdef").await, "6");
    assert_eq!(append(store, 2, b"xx").await, "conflict");
    assert_eq!(append(store, 5, b"xyz").await, "conflict");
    assert_eq!(append(store, 6, b"").await, "6");
    assert_eq!(append(store, u64::MAX, b"x").await, "gap 6");
    let all = store.read_log(STAGE, 0, 100).await.unwrap();
    assert_eq!(all, LogSlice { offset: 0, data: b"abcdef".to_vec(), marks: vec![] });
    assert_eq!(store.read_log(STAGE, 2, 3).await.unwrap().data, b"cde");
    assert_eq!(store.read_log(STAGE, 6, 3).await.unwrap().data, b"");
    assert_eq!(store.log_state(STAGE).await.unwrap(), LogState { bytes: 6, complete: false, removed: false });
    assert_eq!(finish(store, 6, b"abcdef").await, "ended");
    assert_eq!(append(store, 0, b"abcdef").await, "6");
    assert_eq!(append(store, 4, b"ef").await, "6");
    assert_eq!(append(store, 4, b"efg").await, "conflict");
    assert_eq!(append(store, 4, b"xx").await, "conflict");
}

async fn the_end_is_checked(bed: Bed) {
    let store = &bed.store;
    append(store, 0, b"hello").await;
    assert_eq!(finish(store, 6, b"hello!").await, "gap 5");
    assert_eq!(finish(store, 4, b"hell").await, "conflict");
    assert_eq!(finish(store, 5, b"jello").await, "conflict");
    assert!(!store.log_state(STAGE).await.unwrap().complete);
    assert_eq!(finish(store, 5, b"hello").await, "ended");
    assert_eq!(finish(store, 5, b"hello").await, "ended");
    assert_eq!(finish(store, 5, b"jello").await, "conflict");
    assert_eq!(store.log_state(STAGE).await.unwrap(), LogState { bytes: 5, complete: true, removed: false });
    // A stage that wrote nothing.
    let silent = StageId(8);
    store.finish_log(silent, 0, &Sha256::digest(b"")).await.unwrap();
    assert_eq!(store.log_state(silent).await.unwrap(), LogState { bytes: 0, complete: true, removed: false });
}

async fn a_log_survives_a_restart(bed: Bed) {
    let data = noise(700_000);
    let (one, rest) = data.split_at(400_000);
    append(&bed.store, 0, one).await;
    // Without a close, as after a kill: what was answered is there.
    let Bed { store, options, folder } = bed;
    drop(store);
    let store = Store::open(&options).await.unwrap();
    assert_eq!(store.log_state(STAGE).await.unwrap().bytes, 400_000);
    // The second half arrives at a process that never saw the first.
    assert_eq!(append(&store, 399_999, &data[399_999..]).await, "700000");
    assert_eq!(finish(&store, 700_000, rest).await, "conflict");
    assert_eq!(finish(&store, 700_000, &data).await, "ended");
    assert_eq!(read_all(&store, STAGE).await, data);
    drop(folder);
}

async fn read_all(store: &Store, stage: StageId) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let slice = store.read_log(stage, all.len() as u64, 100_000).await.unwrap();
        if slice.data.is_empty() {
            return all;
        }
        all.extend(slice.data);
    }
}

async fn marks_stay_where_they_were(bed: Bed) {
    let mark = |at, time_us| Mark { at, time_us };
    bed.store.append_log(STAGE, 0, b"one\ntwo\n", &[mark(0, 10), mark(4, 20)]).await.unwrap();
    bed.store.append_log(STAGE, 4, b"two\nthree\n", &[mark(0, 20), mark(4, 30)]).await.unwrap();
    let all = bed.store.read_log(STAGE, 0, 100).await.unwrap();
    assert_eq!(all.marks, [mark(0, 10), mark(4, 20), mark(8, 30)]);
    let part = bed.store.read_log(STAGE, 5, 5).await.unwrap();
    assert_eq!((part.data.as_slice(), part.marks), (b"wo\nth".as_slice(), vec![mark(0, 20), mark(3, 30)]));
    let big = vec![b'x'; 1024 * 1024];
    bed.store.append_log(StageId(8), 0, &big, &[mark(0, 1), mark(300_000, 2)]).await.unwrap();
    let part = bed.store.read_log(StageId(8), 262_144, 300_000).await.unwrap();
    assert_eq!(part.marks[..2], [mark(0, 1), mark(300_000 - 262_144, 2)]);
    assert_eq!(part.data.len(), 300_000);
}

async fn many_stages_at_once(bed: Bed) {
    let data = noise(200_000);
    let writers = (1..=12).map(|stage| {
        let (store, data) = (bed.store.clone(), data.clone());
        tokio::spawn(async move {
            let stage = StageId(stage);
            let mut at = 0;
            for piece in data.chunks(9_973) {
                at = store.append_log(stage, at, piece, &[]).await.unwrap();
            }
            store.finish_log(stage, at, &Sha256::digest(&data)).await.unwrap();
            assert_eq!(read_all(&store, stage).await, data);
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn durable_bytes_show_on_stages(bed: Bed) {
    let made = bed.build("a").await;
    let stage = made.jobs[0].attempts[0].stages[1].id;
    bed.store.append_log(stage, 0, b"four", &[]).await.unwrap();
    let detail = bed.store.find_build_detail(made.build.number).await.unwrap().unwrap();
    let bytes: Vec<i64> = detail.jobs[0].attempts[0].stages.iter().map(|stage| stage.log_bytes).collect();
    assert_eq!(bytes, [0, 4, 0]);
    assert_eq!(bed.store.find_stage(stage).await.unwrap().unwrap().1.log_bytes, 4);
}

/// A stage that is over, in a job that its worker still holds; its log is not complete yet.
async fn over(bed: &Bed) -> (StageId, Claimed) {
    bed.build("a").await;
    let worker = bed.worker("w", "").await;
    let claimed = bed.claim(worker).await.unwrap();
    let id = claimed.stages[1].0;
    for status in [Status::Running, Status::Passed] {
        let update = StageUpdate { id, status, exit_code: None, duration_ms: None, reason: None };
        bed.store.set_stage(&claimed.lease, &update).await.unwrap();
    }
    (id, claimed)
}

async fn a_deleted_log_is_a_note(bed: Bed) {
    let store = &bed.store;
    let (stage, _) = over(&bed).await;
    let data = noise(3_000_000);
    for (at, piece) in (0..).step_by(10_000).zip(data.chunks(10_000)) {
        store.append_log(stage, at, piece, &[]).await.unwrap();
    }
    store.finish_log(stage, data.len() as u64, &Sha256::digest(&data)).await.unwrap();
    store.append_log(StageId(99), 0, b"another", &[]).await.unwrap();
    store.remove_log(stage, "deleted by ann", "tests").await.unwrap();
    // Again, by another: nothing changes.
    store.remove_log(stage, "deleted by bob, whose name is longer", "tests").await.unwrap();
    let want = LogState { bytes: 15, complete: true, removed: true };
    assert_eq!(store.log_state(stage).await.unwrap(), want);
    assert_eq!(store.read_log(stage, 0, 4_000_000).await.unwrap().data, b"deleted by ann\n");
    assert_eq!(store.read_log(stage, 1_000_000, 100).await.unwrap().data, b"");
    assert_eq!(read_all(store, StageId(99)).await, b"another");
    // What comes late is taken, so that its sender ends, and is nowhere.
    assert_eq!(store.append_log(stage, 2_999_990, &data[2_999_990..], &[]).await.unwrap(), 3_000_000);
    assert_eq!(store.append_log(stage, 15, b"more", &[]).await.unwrap(), 19);
    store.finish_log(stage, 3_000_000, &Sha256::digest(&data)).await.unwrap();
    let other = bed.second().await;
    assert_eq!(other.append_log(stage, 0, &data[..100], &[]).await.unwrap(), 100);
    assert_eq!(read_all(&other, stage).await, b"deleted by ann\n");
    assert_eq!(bed.log_rows(stage).await, 1);
}

async fn a_log_that_may_grow_is_not_deleted(bed: Bed) {
    let store = &bed.store;
    let (stage, claimed) = over(&bed).await;
    store.append_log(stage, 0, b"half", &[]).await.unwrap();
    let next = claimed.stages[2].0;
    for (stage, words) in [(stage, "has not arrived yet"), (next, "stage test is queued")] {
        let error = store.remove_log(stage, "gone", "tests").await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)) && error.to_string().contains(words), "{error}");
    }
    assert_eq!(read_all(store, stage).await, b"half");
    // Its worker has lost the right to it.
    store.advance(claimed.build.number, finished(&claimed, Status::Passed)).await.unwrap();
    store.remove_log(stage, "gone", "tests").await.unwrap();
    assert_eq!(read_all(store, stage).await, b"gone\n");
    let error = store.remove_log(StageId(4711), "gone", "tests").await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound(_)), "{error}");
}

/// SQLite only: PostgreSQL overwrites its pages when it uses them again.
#[tokio::test]
async fn deleted_bytes_are_in_no_file() {
    let bed = Bed::sqlite().await;
    let (stage, _) = over(&bed).await;
    // Too short to be compressed, too long for one page, and in a page with those of others.
    let secrets: Vec<Vec<u8>> = [40, 300_000, 60].map(noise).to_vec();
    let mut at = 0;
    for (secret, other) in secrets.iter().zip(1_000..) {
        at = bed.store.append_log(stage, at, secret, &[]).await.unwrap();
        bed.store.append_log(StageId(other), 0, b"another", &[]).await.unwrap();
    }
    bed.store.finish_log(stage, at, &Sha256::digest(secrets.concat())).await.unwrap();
    let found = |part: &[u8]| {
        let files = std::fs::read_dir(&bed.options.data).unwrap().map(|file| file.unwrap().path());
        files.filter(|f| f.is_file() && memmem(&std::fs::read(f).unwrap(), part)).count()
    };
    let part = &secrets[0][..30];
    assert!(found(part) > 0, "the test looks for the wrong bytes");
    bed.store.remove_log(stage, "gone", "tests").await.unwrap();
    assert_eq!(found(part), 0);
}

fn memmem(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

async fn a_deleted_log_leaves_the_journal_when_its_readers_do(bed: Bed) {
    if bed.is_shared() {
        assert!(bed.store.scrub().await.unwrap());
        return;
    }
    let (stage, _) = over(&bed).await;
    let secret = b"hunter2-hunter2";
    bed.store.append_log(stage, 0, secret, &[]).await.unwrap();
    bed.store.finish_log(stage, secret.len() as u64, &Sha256::digest(secret)).await.unwrap();
    // Somebody reads, as a backup does.
    let url = format!("sqlite://{}", bed.options.data.join("logs.db").display());
    let mut reader = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    for sql in ["BEGIN", "SELECT count(*) FROM log_chunks"] {
        sqlx::query(sql).fetch_all(&mut reader).await.unwrap();
    }
    bed.store.remove_log(stage, "deleted by ann", "tests").await.unwrap();
    assert!(!bed.store.scrub().await.unwrap());
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    assert!(bed.store.scrub().await.unwrap());
    let journal = std::fs::metadata(bed.options.data.join("logs.db-wal")).unwrap();
    assert_eq!(journal.len(), 0);
}
