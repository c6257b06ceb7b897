//! How fast it is. Only an optimised build says something about that, so these cases are part of nothing else:
//! `cargo test --release -p ocelot-store --test it speed -- --nocapture`.

use std::time::Instant;

use ocelot_model::StageId;
use ocelot_store::Plan;
use sha2::{Digest as _, Sha256};

use crate::bed::{Bed, jobs, new_build};

both!(a_hundred_megabytes_of_log_a_second, claims_stay_flat);

/// Lines like those of a compiler: they repeat a lot, but not exactly.
fn lines(seed: usize) -> Vec<u8> {
    let text: String = (seed * 10_000..).take(13_000).fold(String::new(), |text, at| {
        let hash = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text + &format!(
            "[{at:>7}] CC src/module_{:04}/part_{:08x}.o -O2 -Wall -c -o out/{:012x}\n",
            at % 977,
            at,
            hash
        )
    });
    text.into_bytes()[..1024 * 1024].to_vec()
}

async fn a_hundred_megabytes_of_log_a_second(bed: Bed) {
    let (streams, each) = (8, 40);
    let pieces: Vec<Vec<u8>> = (0..4).map(lines).collect();
    let began = Instant::now();
    let writers = (1..=streams).map(|stage| {
        let (store, pieces) = (bed.store.clone(), pieces.clone());
        tokio::spawn(async move {
            let mut hash = Sha256::new();
            let mut at = 0;
            for piece in pieces.iter().cycle().take(each) {
                hash.update(piece);
                at = store.append_log(StageId(stage), at, piece, &[]).await.unwrap();
            }
            store.finish_log(StageId(stage), at, &hash.finalize()).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let rate = (streams as usize * each) as f64 / began.elapsed().as_secs_f64();
    println!("{} carries {rate:.0} MiB of log a second; {}", bed.kind(), peak_memory());
    assert!(rate > 100.0, "only {rate:.0} MiB/s");
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned()
}

async fn claims_stay_flat(bed: Bed) {
    let worker = bed.worker("w", "os=linux").await;
    let repo = bed.repo("git/app").await;
    let names: Vec<String> = (0..1000).map(|at| format!("j{at}@os=mac")).collect();
    let mut plan = new_build(&repo, "");
    plan.plan = Plan::Jobs(jobs(&names.join(" ")));
    for _ in 0..100 {
        bed.store.create_build(&plan).await.unwrap();
    }
    for _ in 0..200 {
        bed.store.create_build(&new_build(&repo, "wanted@os=linux")).await.unwrap();
    }
    let began = Instant::now();
    for _ in 0..200 {
        assert!(bed.claim(worker).await.is_some());
    }
    assert!(bed.claim(worker).await.is_none());
    let each = began.elapsed().as_secs_f64() * 1000.0 / 200.0;
    println!("{} claims in {each:.2} ms behind 100,000 jobs that do not suit", bed.kind());
    assert!(each < 50.0, "a claim took {each:.1} ms");
}
