//! The stage `setup`: rooms and checkout, at the same time, with lines for people in its log.

use std::path::Path;
use std::time::{Duration, Instant};

use ocelot_model::Status;
use ocelot_model::duration::exact;
use ocelot_model::pipeline::spec::Pull;
use tokio::sync::mpsc;

use crate::attempt::Attempt;
use crate::board::{Stop, at_least};
use crate::breaker::{Fault, Setup};
use crate::condition::Disk;
use crate::executor::{Executor, ExecutorError, Room, RoomSpec, SetupLog, User};
use crate::folder::{Ended, boot_ms, left};
use crate::git::{Access, GitError};
use crate::mirror::Wanted;
use crate::plan::{RoomPlan, later_images, shared_rooms};
use crate::pump::{SetupSource, Source};
use crate::workspace;

/// Lines that may wait to be sent.
const LINES: usize = 1024;

/// Why the setup did not come to its end.
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) fault: Fault,
}

impl Failure {
    /// Another attempt may do better.
    pub(crate) fn is_infrastructure(&self) -> bool {
        self.fault != Fault::Job
    }

    fn machine(reason: String) -> Failure {
        Failure { fault: Fault::Machine(reason.clone()), reason }
    }
}

impl From<ExecutorError> for Failure {
    fn from(error: ExecutorError) -> Failure {
        let reason = error.to_string();
        match error {
            ExecutorError::Image { .. } if error.is_infrastructure() => Failure { reason, fault: Fault::Far },
            _ if error.is_infrastructure() => Failure::machine(reason),
            _ => Failure { reason, fault: Fault::Job },
        }
    }
}

enum End {
    Done(Result<Vec<Room>, Failure>),
    Cancelled,
    TimedOut,
}

impl Attempt {
    /// Prepares everything that stages need. How it went stands in the state afterwards.
    pub(crate) async fn setup(&mut self) {
        let clock = Instant::now();
        let id = self.setup_id();
        let again = self.state.current.is_some();
        let (say, lines) = mpsc::channel(LINES);
        self.open_setup_log(Some(lines));
        self.begin(id, None);
        if again {
            // What was half done is of no use: begin with nothing.
            self.unsure = true;
            self.close().await;
            line(&say, "The worker was started again; the setup begins anew").await;
        }
        for note in &self.offer.notes {
            line(&say, note).await;
        }
        let limit = left(self.state.began_ms, self.job.timeout_ms, boot_ms());
        let mut stop = self.stop.clone();
        let end = tokio::select! {
            biased;
            () = at_least(&mut stop, Stop::Gently) => End::Cancelled,
            done = self.prepare(&say) => End::Done(done),
            () = tokio::time::sleep(limit) => End::TimedOut,
        };
        let (status, reason, infrastructure) = match end {
            End::Done(Ok(rooms)) => {
                self.judge(clock.elapsed(), None);
                self.rooms = rooms.into_iter().map(|room| (room.name().to_owned(), room)).collect();
                (Status::Passed, String::new(), false)
            }
            End::Done(Err(failure)) => {
                let failure = self.for_want_of_room(failure);
                let infrastructure = failure.is_infrastructure();
                self.judge(clock.elapsed(), Some(failure.fault));
                (Status::Error, failure.reason, infrastructure)
            }
            End::Cancelled => (Status::Cancelled, String::new(), false),
            End::TimedOut => (
                Status::TimedOut,
                format!("the job timed out after {}", exact(Duration::from_millis(self.job.timeout_ms))),
                false,
            ),
        };
        self.unsure = status != Status::Passed;
        if !reason.is_empty() {
            line(&say, &reason).await;
        }
        self.stop_level();
        let duration_ms = clock.elapsed().as_millis() as u64;
        self.end(
            id,
            Ended {
                status,
                exit_code: None,
                duration_ms,
                reason,
                room: None,
                forgiven: false,
                infrastructure,
            },
        );
    }

    /// What the setup says of this machine.
    fn judge(&self, took: Duration, fault: Option<Fault>) {
        let (job, repo) = (self.offer.job_id, self.offer.repo.as_str());
        self.shop.health.setup_ended(Setup { job, repo, took, fault });
    }

    /// The same failure, and that a disk is full when one is: that explains most others.
    pub(crate) fn for_want_of_room(&self, failure: Failure) -> Failure {
        match self.full_disk() {
            Some(words) => Failure::machine(format!("{words}: {}", failure.reason)),
            None => failure,
        }
    }

    /// Which disk has no room left for a job, in words.
    pub(crate) fn full_disk(&self) -> Option<&'static str> {
        let full = |path: &Path| Disk::of(path).is_ok_and(Disk::is_full);
        if full(&self.place.folder) {
            return Some("the worker's disk is full");
        }
        self.shop
            .executor
            .disk()
            .is_some_and(|path| full(&path))
            .then_some("the Docker Engine's disk is full")
    }

    /// Sends what an earlier life wrote, and then `lines`, as the setup's log.
    pub(crate) fn open_setup_log(&mut self, lines: Option<mpsc::Receiver<Vec<u8>>>) {
        let lines = lines.unwrap_or_else(|| mpsc::channel(1).1);
        match SetupSource::open(&self.folder.setup_log(), lines) {
            Ok(source) => self.begin_log(self.setup_id(), Source::Setup(source)),
            Err(error) => tracing::warn!(attempt = self.lease.attempt_id, "the setup has no log: {error}"),
        }
    }

    async fn prepare(&self, say: &SetupLog) -> Result<Vec<Room>, Failure> {
        let user = self.user()?;
        let mut rooms = Vec::new();
        for room in shared_rooms(&self.plan) {
            rooms.push(self.open(room, self.job.pull, say));
        }
        let rooms = futures_util::future::try_join_all(rooms);
        let images = later_images(&self.plan).into_iter();
        let images = images.map(|image| self.have_image(image, say));
        let images = async { Ok(futures_util::future::try_join_all(images).await.map(drop)?) };
        let (rooms, (), ()) =
            futures_util::future::try_join3(rooms, images, self.check_out(say, user)).await?;
        for room in &rooms {
            room.bring_workspace(user.unwrap_or(User::ROOT)).await?;
        }
        Ok(rooms)
    }

    async fn have_image(&self, image: &str, say: &SetupLog) -> Result<(), ExecutorError> {
        let login = self.secrets.registry(image);
        self.shop.executor.have_image(Some(image), self.job.pull, login.as_ref(), say).await
    }

    /// Who the stages run as; `None` for the executor's default.
    pub(crate) fn user(&self) -> Result<Option<User>, ExecutorError> {
        self.job.user.as_deref().map(User::parse).transpose()
    }

    /// Opens a room.
    pub(crate) async fn open(&self, room: &RoomPlan, pull: Pull, say: &SetupLog) -> Result<Room, Failure> {
        let spec = RoomSpec {
            name: room.name.clone(),
            image: room.image.clone(),
            pull,
            resources: self.job.resources,
            login: room.image.as_deref().and_then(|image| self.secrets.registry(image)),
        };
        Ok(self.shop.executor.open(&self.place, &spec, say).await?)
    }

    async fn check_out(&self, say: &SetupLog, user: Option<User>) -> Result<(), Failure> {
        let login = self.secrets.login(&self.offer.clone_url);
        let key = login.as_ref().and_then(|login| self.folder.keep_key(login).transpose()).transpose();
        let key =
            key.map_err(|error| Failure::machine(format!("the key for cloning cannot be written: {error}")))?;
        let ca = self.folder.keep_ca(&self.offer);
        let ca = ca.map_err(|error| {
            Failure::machine(format!("the authorities of the host cannot be written: {error}"))
        })?;
        let access = login.as_ref().map(|login| Access { login, key: key.as_deref() });
        let wanted = Wanted {
            access,
            ca: ca.as_deref(),
            url: &self.offer.clone_url,
            commit: &self.offer.commit,
            branch: &self.offer.branch,
            checkout: &self.job.checkout,
            allow_local: self.offer.allow_local,
            known_hosts: &self.shop.known_hosts,
        };
        line(say, &format!("Fetching {}", self.offer.repo)).await;
        let folder = self.place.workspace();
        let done = workspace::check_out(&self.shop.mirrors, wanted, &folder, say).await;
        self.folder.forget_key();
        let done = done.map_err(|error: GitError| Failure {
            reason: workspace::failure(&wanted, &error),
            fault: if error.infrastructure { Fault::Far } else { Fault::Job },
        })?;
        line(say, &done).await;
        let containers = matches!(self.shop.executor, Executor::Docker(_));
        if let Some(user) = user.filter(|user| containers && *user != User::ROOT) {
            let given = tokio::task::spawn_blocking(move || workspace::give(&folder, user)).await;
            given.map_err(std::io::Error::other).flatten().map_err(|error| {
                let User { uid, gid } = user;
                Failure::machine(format!("the workspace cannot be given to {uid}:{gid}: {error}"))
            })?;
        }
        Ok(())
    }
}

/// A line in the setup's log. Nobody reads it any more when the attempt is over.
pub(crate) async fn line(say: &SetupLog, text: &str) {
    let _ = say.send(format!("{text}\n").into_bytes()).await;
}
