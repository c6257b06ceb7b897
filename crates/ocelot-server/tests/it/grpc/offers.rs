//! How waiting jobs find idle workers.

use std::time::Duration;

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::{Accept, Condition, Heartbeat, Hello, Ready, Refuse};
use ocelot_model::Status;

use super::world::{DEADLINE, Worker, World, hello};

#[tokio::test]
async fn a_new_build_is_offered_at_once() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    for _ in 0..20 {
        let build = world.build().await;
        // Nothing polls here: without the wake-up it would be an hour.
        let offer = worker.offer().await;
        assert_eq!(offer.build_number, build.0);
        worker.take(&offer).await;
        worker.finish(&offer, "passed").await.unwrap();
        worker.say(Up::Ready(Ready { slots: 1 }));
    }
}

#[tokio::test]
async fn an_offer_says_all_that_a_worker_needs() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    let before = world.build().await;
    let offer = worker.offer().await;
    worker.take(&offer).await;
    worker.finish(&offer, "passed").await.unwrap();
    world.until(before, |it| it.build.status == Status::Passed).await;
    worker.say(Up::Ready(Ready { slots: 1 }));
    let build = world.build().await;
    let offer = worker.offer().await;

    let variable = |name: &str| {
        offer.variables.iter().find(|v| v.name == name).map_or("(absent)", |v| v.value.as_str()).to_owned()
    };
    let commit = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(variable("GIT_HASH"), commit);
    assert_eq!(variable("GIT_HASH_SHORT"), "0123456");
    assert_eq!(variable("GIT_BRANCH"), "main");
    assert_eq!(variable("GIT_PREVIOUS_SUCCESSFUL_COMMIT"), commit);
    assert_eq!(variable("BUILD_ID"), build.to_string());
    assert_eq!(variable("OCELOT_REPO"), "git/example");
    assert_eq!(variable("OCELOT_EVENT"), "manual");
    assert_eq!(variable("OCELOT_ATTEMPT"), "1");
    assert_eq!(variable("OCELOT_TAG"), "(absent)");
    assert_eq!(variable("OCELOT_BUILD_URL"), format!("{}/builds/{build}", world.server.public_url()));
    let stages: Vec<_> = offer.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(stages, ["setup", "test"]);
    let job: ocelot_model::pipeline::Job = serde_json::from_str(&offer.job_json).unwrap();
    assert_eq!(job.name, "default");
}

#[tokio::test]
async fn an_unanswered_offer_goes_to_another_worker_and_a_late_yes_comes_too_late() {
    let world = World::with(|config| config.patience.accept = Duration::from_millis(200)).await;
    let mut slow = world.worker("slow", 1).await;
    let build = world.build().await;
    let first = slow.offer().await;
    let mut other = world.worker("other", 1).await;
    let second = other.offer().await;
    assert_eq!((second.build_number, second.lease.as_ref().unwrap().attempt), (build.0, 1));
    other.take(&second).await;
    slow.say(Up::Accept(Accept { lease: first.lease.clone() }));
    let told = slow.hear().await;
    assert!(matches!(told, Some(Down::Drop(_))), "{told:?}");
    other.finish(&second, "passed").await.unwrap();
    world.until(build, |it| it.build.status == Status::Passed).await;
}

#[tokio::test]
async fn a_refused_job_goes_back_to_the_queue_for_a_while() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    let build = world.build().await;
    let offer = worker.offer().await;
    worker.say(Up::Refuse(Refuse { lease: offer.lease.clone(), reason: "no disk".into() }));
    world.until(build, |it| it.build.status == Status::Queued).await;
    worker.say(Up::Ready(Ready { slots: 1 }));
    let again = worker.offer().await;
    assert_eq!((again.build_number, again.lease.as_ref().unwrap().attempt), (build.0, 1));
    assert_ne!(again.lease, offer.lease);
}

#[tokio::test]
async fn an_offer_whose_worker_goes_finds_another() {
    let world = World::new().await;
    let mut first = world.worker("first", 1).await;
    let build = world.build().await;
    first.offer().await;
    drop(first);
    let mut second = world.worker("second", 1).await;
    assert_eq!(second.offer().await.build_number, build.0);
}

#[tokio::test]
async fn labels_decide_who_is_asked() {
    let world = World::new().await;
    let mut others = Vec::new();
    for n in 0..20 {
        let mut hello = hello(&format!("other-{n}"), 1);
        hello.labels.insert("number".into(), n.to_string());
        let worker = world.greet(hello).await.unwrap();
        worker.say(Up::Ready(Ready { slots: 1 }));
        others.push(worker);
    }
    let labels = [("executor".to_owned(), "docker".to_owned()), ("gpu".to_owned(), "yes".to_owned())].into();
    let mut wanted = world.greet(Hello { labels, ..hello("wanted", 1) }).await.unwrap();
    wanted.say(Up::Ready(Ready { slots: 1 }));
    let build = world.build_of(&format!("labels: {{gpu: \"yes\"}}\n{}", crate::room::SMALL)).await;
    assert_eq!(wanted.offer().await.build_number, build.0);
}

#[tokio::test]
async fn jobs_are_spread_over_workers() {
    let world = World::new().await;
    let (mut one, mut two) = (world.worker("one", 4).await, world.worker("two", 4).await);
    let jobs: String = (0..8).fold("jobs:\n".to_owned(), |text, n| {
        text + &format!(
            "  j{n}:\n    image: busybox\n    stages:\n      - name: test\n        script: [echo]\n"
        )
    });
    world.build_of(&jobs).await;
    for _ in 0..4 {
        one.offer().await;
        two.offer().await;
    }
}

#[tokio::test]
async fn no_more_is_offered_than_there_are_slots() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    // Said twice, it is still one slot.
    worker.say(Up::Ready(Ready { slots: 1 }));
    let (first, second) = (world.build().await, world.build().await);
    let offer = worker.offer().await;
    assert_eq!(offer.build_number, first.0);
    worker.take(&offer).await;
    worker.finish(&offer, "passed").await.unwrap();
    assert_eq!(world.detail(second).await.build.status, Status::Queued);
    worker.say(Up::Ready(Ready { slots: 1 }));
    assert_eq!(worker.offer().await.build_number, second.0);
}

#[tokio::test]
async fn while_it_is_paused_no_job_is_offered() {
    let world = World::new().await;
    let (_busy, _, running) = world.working("w1").await;
    world.app().store.pause("ann", None).await.unwrap();
    let mut idle = world.worker("w2", 1).await;
    let waiting = world.build().await;
    assert_eq!(world.detail(waiting).await.build.status, Status::Queued);
    assert_eq!(world.detail(running).await.build.status, Status::Running);
    world.app().store.unpause("tests").await.unwrap();
    // Woken by the end of the pause.
    assert_eq!(idle.offer().await.build_number, waiting.0);
}

#[tokio::test]
async fn a_worker_that_is_unwell_is_offered_nothing_until_it_is_well() {
    let world = World::new().await;
    let say = |worker: &Worker, unwell: &str| {
        let condition = Condition { disk_free: 1 << 30, disk_total: 1 << 33, unwell: unwell.into() };
        worker.say(Up::Heartbeat(Heartbeat { condition: Some(condition), ..Heartbeat::default() }));
    };
    let mut sick = world.worker("sick", 2).await;
    say(&sick, "1 GiB free of 8 GiB, wants 5 GiB");
    let unwell = async || world.app().store.list_workers().await.unwrap()[0].condition.unwell.clone();
    let waiting = async {
        while unwell().await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
    // It had said that it has room; another one comes, and gets the job.
    let build = world.build().await;
    let mut other = world.worker("other", 1).await;
    let offer = other.offer().await;
    assert_eq!(offer.build_number, build.0);
    other.take(&offer).await;
    let next = world.build().await;
    say(&sick, "");
    sick.say(Up::Ready(Ready { slots: 2 }));
    assert_eq!(sick.offer().await.build_number, next.0);
}
