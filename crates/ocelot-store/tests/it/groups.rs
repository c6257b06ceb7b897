//! Places in concurrency groups, whatever else goes on.

use ocelot_model::concurrency::Concurrency;
use ocelot_model::{BuildNumber, RepoId, Status};
use ocelot_store::{BuildFilter, GroupKey, Store};

use crate::bed::{Bed, cancel, finished, new_build};

both!(no_more_go_on_than_there_are_places);

const LIMIT: u32 = 2;

/// Builds come, run, fail and are cancelled, and every change is followed by looks at the group from two sides at once.
async fn no_more_go_on_than_there_are_places(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let repo = bed.repo("git/app").await;
    let far = if bed.is_shared() { bed.second().await } else { bed.store.clone() };
    let mut new = new_build(&repo, "a b<a");
    new.concurrency = Some(Concurrency { group: "g".into(), limit: LIMIT, cancel_running: false });
    let mut running = Vec::new();
    let mut random = 7_u64;
    let mut below = |end: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % end
    };
    let (mut made, mut ended) = (0, 0);
    while ended < 25 {
        match below(5) {
            0 | 1 if made < 25 => {
                made += 1;
                bed.store.create_build(&new).await.unwrap();
            }
            2 => {
                let open = open(&bed, repo.id).await;
                if !open.is_empty() {
                    bed.store.advance(open[below(open.len())], cancel()).await.unwrap();
                }
            }
            3 if !running.is_empty() => {
                let claimed: ocelot_store::Claimed = running.swap_remove(below(running.len()));
                let status = [Status::Passed, Status::Failed][below(2)];
                bed.store.advance(claimed.build.number, finished(&claimed, status)).await.unwrap();
            }
            _ => running.extend(bed.claim(worker).await),
        }
        let (one, other) = tokio::join!(look(&bed.store, repo.id), look(&far, repo.id));
        one.and(other).unwrap();
        let open = open(&bed, repo.id).await;
        let going: Vec<BuildNumber> = going(&bed).await;
        assert!(going.len() <= LIMIT as usize, "{going:?} go on at once");
        // Those that wait are the newest, and they wait for nothing but a place.
        assert_eq!(going, open[..open.len().min(LIMIT as usize)]);
        ended = made - open.len();
    }
}

async fn look(store: &Store, repo: RepoId) -> Result<(), ocelot_store::StoreError> {
    let group = GroupKey { repo, name: "g".into(), trusted: true };
    store.settle_group(&group).await.map(drop)
}

/// Builds that are not over, the oldest first.
async fn open(bed: &Bed, repo: RepoId) -> Vec<BuildNumber> {
    let filter = BuildFilter { repo: Some(repo), ..BuildFilter::default() };
    let builds = bed.store.list_builds(&filter, 100).await.unwrap();
    let open = builds.iter().filter(|build| !build.status.is_terminal());
    open.rev().map(|build| build.number).collect()
}

/// Builds of which a job runs or may be claimed.
async fn going(bed: &Bed) -> Vec<BuildNumber> {
    let queue = bed.store.list_queue().await.unwrap();
    let mut going: Vec<BuildNumber> =
        queue.iter().filter(|place| place.ready).map(|place| place.ticket.build).collect();
    for worker in bed.store.list_workers().await.unwrap() {
        going.extend(worker.holds.iter().map(|(held, ..)| held.build));
    }
    going.sort_unstable();
    going.dedup();
    going
}
