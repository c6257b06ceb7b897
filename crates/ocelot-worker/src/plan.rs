//! What of a job runs, where, and what its stages' ends make of it. Pure.

use std::collections::BTreeSet;

use ocelot_api::proto::StageRef;
use ocelot_model::Status;
use ocelot_model::pipeline::{AllowFailure, Job, Stage};

use crate::board::Stop;
use crate::executor::{Exit, Outcome as Ending};
use crate::folder::{Ended, Outcome};

/// A stage of the job and its place in the attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// Its id.
    pub(crate) id: i64,
    /// What it is.
    pub(crate) stage: Stage,
    /// Where it runs.
    pub(crate) room: RoomPlan,
    /// Why it does not run in this build.
    pub(crate) skip: Option<String>,
}

/// The room of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomPlan {
    /// Unique in the attempt, the same after a restart.
    pub(crate) name: String,
    /// Its image, if it has one.
    pub(crate) image: Option<String>,
    /// Opened for this stage and closed after it.
    pub(crate) own: bool,
}

/// Gives every stage its id and its room. Fails when the server's list does not fit the job.
pub(crate) fn plan(job: &Job, ids: &[StageRef], branch: &str) -> Result<Vec<Planned>, String> {
    let names = std::iter::once("setup").chain(job.stages.iter().map(|stage| stage.name.as_str()));
    if !names.eq(ids.iter().map(|stage| stage.name.as_str())) {
        return Err("the server's stages are not those of the job".to_owned());
    }
    let planned = |(stage, id): (&Stage, &StageRef)| Planned {
        id: id.id,
        stage: stage.clone(),
        room: room(job, stage, id.id),
        skip: skip(stage, branch),
    };
    Ok(job.stages.iter().zip(&ids[1..]).map(planned).collect())
}

fn room(job: &Job, stage: &Stage, id: i64) -> RoomPlan {
    let image = stage.image.clone().or_else(|| job.image.clone());
    if stage.isolated {
        return RoomPlan { name: format!("stage-{id}"), image, own: true };
    }
    if image == job.image {
        return RoomPlan { name: "main".to_owned(), image, own: false };
    }
    let same = |other: &Stage| !other.isolated && other.image == image;
    let first = job.stages.iter().position(same).unwrap_or_default();
    RoomPlan { name: format!("image-{first}"), image, own: false }
}

fn skip(stage: &Stage, branch: &str) -> Option<String> {
    if let Some(why) = stage.skipped() {
        return Some(why.to_owned());
    }
    // Of an older server, which leaves branches to its workers.
    if ocelot_model::pipeline::branch_matches(&stage.branches, branch) {
        return None;
    }
    Some(format!("runs on {} only, this is {branch}", stage.branches.join(", ")))
}

/// The rooms that stages share, each once, in order of first use.
pub(crate) fn shared_rooms(plan: &[Planned]) -> Vec<&RoomPlan> {
    let mut rooms: Vec<&RoomPlan> = Vec::new();
    for planned in plan.iter().filter(|planned| planned.skip.is_none() && !planned.room.own) {
        if !rooms.contains(&&planned.room) {
            rooms.push(&planned.room);
        }
    }
    rooms
}

/// Images that no shared room has, each once: those of rooms that are opened for one stage only.
pub(crate) fn later_images(plan: &[Planned]) -> Vec<&str> {
    let shared: Vec<_> = shared_rooms(plan).iter().map(|room| &room.image).collect();
    let mut images: Vec<&str> = Vec::new();
    for planned in plan.iter().filter(|planned| planned.skip.is_none() && planned.room.own) {
        let image = planned.room.image.as_deref().filter(|image| !images.contains(image));
        images.extend(image.filter(|_| !shared.contains(&&planned.room.image)));
    }
    images
}

/// All images of stages that may run, each once.
pub(crate) fn images(plan: &[Planned]) -> Vec<String> {
    let images = plan.iter().filter(|planned| planned.skip.is_none());
    let images: BTreeSet<_> = images.filter_map(|planned| planned.room.image.clone()).collect();
    images.into_iter().collect()
}

/// How the job goes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Well.
    Going,
    /// A stage that counts did not pass.
    Failed,
    /// Someone wants it stopped.
    Cancelled,
    /// Someone wants it stopped at once, in these words.
    Forced(&'static str),
}

/// Why not even what cleans up runs; nothing while it may.
pub(crate) fn forced(stop: Stop) -> Option<&'static str> {
    match stop {
        Stop::No | Stop::Gently => None,
        Stop::Force => Some("it was cancelled again"),
        Stop::Halt => Some("its worker was told to end at once"),
        Stop::Drop => Some("it is not this worker's any more"),
    }
}

impl Mood {
    /// From the stages that have ended and what was asked for.
    pub(crate) fn of<'a>(ended: impl IntoIterator<Item = &'a Ended>, stop: Stop) -> Mood {
        match (forced(stop), stop) {
            (Some(why), _) => Mood::Forced(why),
            (None, Stop::No) if ended.into_iter().any(counts) => Mood::Failed,
            (None, Stop::No) => Mood::Going,
            (None, _) => Mood::Cancelled,
        }
    }
}

/// True for an end after which the job cannot pass.
fn counts(ended: &Ended) -> bool {
    !ended.status.is_good() && !ended.forgiven
}

/// What to do with the next stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run it.
    Run,
    /// Run it, though the job is over: for a short while only.
    RunBriefly,
    /// Do not run it; it ends like this.
    Leave(Status, String),
}

/// Decides about one stage. `ready` is false when the setup did not come to its end.
pub(crate) fn next(planned: &Planned, mood: Mood, ready: bool) -> Next {
    if let Some(why) = &planned.skip {
        return Next::Leave(Status::Skipped, why.clone());
    }
    match mood {
        Mood::Going => Next::Run,
        Mood::Failed | Mood::Cancelled if planned.stage.always && ready => Next::RunBriefly,
        Mood::Failed => Next::Leave(Status::Skipped, "an earlier stage did not pass".to_owned()),
        // It would have cleaned up.
        Mood::Forced(why) if planned.stage.always && ready => Next::Leave(Status::Cancelled, why.to_owned()),
        Mood::Cancelled | Mood::Forced(_) => Next::Leave(Status::Cancelled, String::new()),
    }
}

/// How a stage ended by itself.
pub(crate) fn verdict(exit: &Exit, allow: &AllowFailure) -> Ended {
    let duration_ms = exit.duration.as_millis() as u64;
    let ended = |status, exit_code: Option<i32>, reason: String| Ended {
        forgiven: exit_code.is_some_and(|code| code != 0 && allow.forgives(code)),
        status,
        exit_code,
        duration_ms,
        reason,
        room: None,
        infrastructure: false,
    };
    match &exit.outcome {
        Ending::Code(0) => ended(Status::Passed, Some(0), String::new()),
        Ending::Code(code) if exit.oom => {
            ended(Status::Failed, Some(code & 0xff), "out of memory".to_owned())
        }
        Ending::Code(code) => ended(Status::Failed, Some(code & 0xff), format!("exit code {code}")),
        Ending::Signal(signal) => {
            let why =
                if exit.oom { "out of memory".to_owned() } else { format!("killed by signal {signal}") };
            ended(Status::Failed, Some((128 + signal) & 0xff), why)
        }
        Ending::NotStarted(why) => ended(Status::Error, None, why.clone()),
    }
}

/// How the attempt ended: like the first of its stages that counts, in order.
pub(crate) fn outcome<'a>(stages: impl IntoIterator<Item = (&'a str, &'a Ended)>) -> Outcome {
    let Some((name, bad)) = stages.into_iter().find(|(_, ended)| counts(ended)) else {
        return Outcome { status: Status::Passed, reason: String::new(), infrastructure: false };
    };
    let reason = match (name, bad.reason.as_str()) {
        (_, "") => String::new(),
        ("setup", why) => why.to_owned(),
        (name, why) => format!("{name}: {why}"),
    };
    Outcome { status: bad.status, reason, infrastructure: bad.infrastructure }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(stages: &str) -> Job {
        let stage = |line: &str| {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let image = rest.split(' ').find_map(|word| word.strip_prefix("image="));
            serde_json::json!({
                "name": name, "image": image, "isolated": rest.contains("isolated"), "run": {"command": ["true"]},
                "workdir": ".", "env": [], "branches": if rest.contains("main-only") { vec!["main"] } else { vec![] },
                "timeout_ms": null, "allow_failure": "no", "always": rest.contains("always"),
            })
        };
        let stages: Vec<_> = stages.split(", ").map(stage).collect();
        serde_json::from_value(serde_json::json!({
            "name": "default", "image": "busybox", "user": null, "pull": "if-missing", "labels": {}, "priority": 0,
            "needs": [], "always": false, "allow_failure": false, "timeout_ms": 3_600_000,
            "retry": {"infrastructure": 2, "script": 0}, "resources": {"cpu": null, "memory": null}, "env": [],
            "stages": stages, "checkout": {"depth": 50, "tags": true},
        }))
        .unwrap()
    }

    fn ids(job: &Job) -> Vec<StageRef> {
        let names = std::iter::once("setup").chain(job.stages.iter().map(|stage| stage.name.as_str()));
        names.zip(10..).map(|(name, id)| StageRef { id, name: name.to_owned() }).collect()
    }

    #[test]
    fn rooms() {
        let check = |stages: &str, each: &str, shared: &str| {
            let job = job(stages);
            let plan = plan(&job, &ids(&job), "dev").unwrap();
            let name = |room: &RoomPlan| format!("{}:{}", room.name, room.image.as_deref().unwrap_or("-"));
            let all: Vec<_> = plan.iter().map(|planned| name(&planned.room)).collect();
            let opened: Vec<_> = shared_rooms(&plan).into_iter().map(name).collect();
            assert_eq!((all.join(" "), opened.join(" ")), (each.to_owned(), shared.to_owned()), "{stages}");
        };
        check("a, b", "main:busybox main:busybox", "main:busybox");
        check("a, b image=busybox", "main:busybox main:busybox", "main:busybox");
        check("a, b image=x, c image=x", "main:busybox image-1:x image-1:x", "main:busybox image-1:x");
        check("a image=x", "image-0:x", "image-0:x");
        check("a, b isolated", "main:busybox stage-12:busybox", "main:busybox");
        check("a, b image=x main-only", "main:busybox image-1:x", "main:busybox");
    }

    #[test]
    fn images_of_isolated_stages_come_in_the_setup() {
        let check = |stages: &str, want: &[&str]| {
            let job = job(stages);
            let plan = plan(&job, &ids(&job), "dev").unwrap();
            assert_eq!(later_images(&plan), want, "{stages}");
            let all = images(&plan);
            assert!(want.iter().all(|image| all.iter().any(|other| other == image)), "{stages}: {all:?}");
        };
        check("a, b isolated", &[]);
        check("a isolated", &["busybox"]);
        check("a, b isolated image=x, c isolated image=x", &["x"]);
        check("a, b image=x, c isolated image=x", &[]);
        check("a, b isolated main-only image=x", &[]);
    }

    #[test]
    fn a_list_that_does_not_fit_is_refused() {
        let job = job("a, b");
        let mut ids = ids(&job);
        ids.pop();
        assert!(plan(&job, &ids, "main").is_err());
        assert!(plan(&job, &[], "main").is_err());
    }

    #[test]
    fn what_comes_next() {
        let check = |stage: &str, mood: Mood, ready: bool, want: &Next| {
            let job = job(stage);
            let plan = plan(&job, &ids(&job), "dev").unwrap();
            assert_eq!(&next(&plan[0], mood, ready), want, "{stage} {mood:?}");
        };
        let skipped = Next::Leave(Status::Skipped, "an earlier stage did not pass".into());
        let cancelled = Next::Leave(Status::Cancelled, String::new());
        check("a", Mood::Going, true, &Next::Run);
        check("a", Mood::Failed, true, &skipped);
        check("a", Mood::Cancelled, true, &cancelled);
        check("a always", Mood::Going, true, &Next::Run);
        check("a always", Mood::Failed, true, &Next::RunBriefly);
        check("a always", Mood::Failed, false, &skipped);
        check("a always", Mood::Cancelled, true, &Next::RunBriefly);
        let again = Mood::of([], Stop::Force);
        let skipped = Next::Leave(Status::Cancelled, "it was cancelled again".into());
        check("a always", again, true, &skipped);
        check("a always", again, false, &cancelled);
        check("a", again, true, &cancelled);
        let elsewhere = Next::Leave(Status::Skipped, "runs on main only, this is dev".into());
        check("a main-only", Mood::Going, true, &elsewhere);
    }

    #[test]
    fn verdicts() {
        let check =
            |outcome: Ending, oom: bool, allow: &AllowFailure, want: (Status, Option<i32>, &str, bool)| {
                let exit =
                    Exit { outcome, oom, duration: Duration::from_millis(7), frames_end: 0, dropped: 0 };
                let ended = verdict(&exit, allow);
                assert_eq!((ended.status, ended.exit_code, ended.reason.as_str(), ended.forgiven), want);
                assert_eq!(ended.duration_ms, 7);
            };
        let no = &AllowFailure::No;
        check(Ending::Code(0), false, no, (Status::Passed, Some(0), "", false));
        check(Ending::Code(0), true, no, (Status::Passed, Some(0), "", false));
        check(Ending::Code(3), false, no, (Status::Failed, Some(3), "exit code 3", false));
        check(Ending::Code(3), false, &AllowFailure::Yes, (Status::Failed, Some(3), "exit code 3", true));
        check(
            Ending::Code(3),
            false,
            &AllowFailure::Codes(vec![4]),
            (Status::Failed, Some(3), "exit code 3", false),
        );
        check(Ending::Signal(9), true, no, (Status::Failed, Some(137), "out of memory", false));
        check(Ending::Signal(9), false, no, (Status::Failed, Some(137), "killed by signal 9", false));
        check(
            Ending::NotStarted("no shell".into()),
            false,
            &AllowFailure::Yes,
            (Status::Error, None, "no shell", false),
        );
    }

    #[test]
    fn the_first_stage_that_counts_decides() {
        let check = |stages: &[(&str, Status, bool)], want: (Status, &str)| {
            let ended: Vec<_> = stages
                .iter()
                .map(|(name, status, forgiven)| {
                    let ended = Ended {
                        status: *status,
                        exit_code: None,
                        duration_ms: 0,
                        reason: format!("is {status}"),
                        room: None,
                        forgiven: *forgiven,
                        infrastructure: false,
                    };
                    (*name, ended)
                })
                .collect();
            let outcome = outcome(ended.iter().map(|(name, ended)| (*name, ended)));
            assert_eq!((outcome.status, outcome.reason.as_str()), want);
        };
        check(&[("setup", Status::Passed, false), ("a", Status::Skipped, false)], (Status::Passed, ""));
        check(&[("a", Status::Failed, true), ("b", Status::Passed, false)], (Status::Passed, ""));
        check(
            &[("a", Status::Failed, false), ("b", Status::Cancelled, false)],
            (Status::Failed, "a: is failed"),
        );
        check(
            &[("a", Status::Cancelled, false), ("b", Status::Failed, false)],
            (Status::Cancelled, "a: is cancelled"),
        );
        check(&[("setup", Status::Error, false), ("b", Status::Skipped, false)], (Status::Error, "is error"));
    }
}
