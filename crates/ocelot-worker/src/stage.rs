//! One stage: ordered in its room, watched until it ends or must be ended.

use std::time::Duration;

use ocelot_model::Status;
use ocelot_model::duration::exact;
use ocelot_model::pipeline::AllowFailure;
use ocelot_model::pipeline::spec::Pull;
use tokio::sync::mpsc;

use crate::attempt::Attempt;
use crate::board::{Stop, at_least};
use crate::env::{self, Known};
use crate::executor::{ExecutorError, Exit, Order, Room, StageHandle, User};
use crate::folder::{Ended, boot_ms, left};
use crate::plan::{Planned, forced, verdict};
use crate::pump::Source;
use crate::secrets;
use crate::setup::Failure;
use crate::ship::Stale;

/// From asking a stage to end to killing it.
const GRACE: Duration = Duration::from_secs(5);
/// Longest that a stage may take which runs although the job is over, in milliseconds.
const BRIEFLY_MS: u64 = 5 * 60 * 1000;

/// Why a stage was ended before its own end.
enum Cut {
    Stage(u64),
    Job,
    Cancelled,
}

impl Attempt {
    /// Runs a stage, or goes on with one that an earlier life has started. How it went stands in the state
    /// afterwards. `briefly` means that the job is over and this is to clean up.
    pub(crate) async fn stage(&mut self, planned: &Planned, briefly: bool) -> Result<(), Stale> {
        let known = self.state.current.as_ref().is_some_and(|current| current.stage == planned.id);
        // Others may have been given the attempt, and nobody has looked yet: this process may have been stopped for a while.
        if self.shop.contact.is_lost() {
            return Err(Stale);
        }
        if !known {
            self.begin(planned.id, Some(&planned.room.name));
        }
        let ended = match self.start(planned, known).await {
            Ok((room, handle)) => {
                self.begin_log(planned.id, Source::stage(handle.clone()));
                self.watch(planned, &room, &handle, briefly).await
            }
            Err(failure) => self.broken(failure),
        };
        self.stop_level();
        self.end(planned.id, ended);
        if planned.room.own
            && let Some(room) = self.rooms.get(&planned.room.name).cloned()
        {
            // Its files hold the log, so it stays until the server has it.
            self.log_of(planned.id).await?;
            self.rooms.remove(&planned.room.name);
            self.unsure |= room.close().await.is_err();
        }
        Ok(())
    }

    /// Waits for the end of a stage, and brings it about when it must not go on.
    async fn watch(&mut self, planned: &Planned, room: &Room, handle: &StageHandle, briefly: bool) -> Ended {
        let cut = tokio::select! {
            biased;
            exit = handle.exit() => {
                return match exit {
                    Ok(exit) => self.judged(planned, room, &exit),
                    Err(error) => self.broken(error.into()),
                };
            }
            cut = self.limits(planned, briefly) => cut,
        };
        let exit = self.kill(planned, room, handle).await;
        let forgiven = matches!((&cut, &planned.stage.allow_failure), (Cut::Stage(_), AllowFailure::Yes));
        let (status, reason) = match cut {
            Cut::Stage(limit_ms) => {
                (Status::TimedOut, format!("timed out after {}", exact(Duration::from_millis(limit_ms))))
            }
            Cut::Job => (
                Status::TimedOut,
                format!("the job timed out after {}", exact(Duration::from_millis(self.job.timeout_ms))),
            ),
            Cut::Cancelled => {
                let again = forced(*self.stop.borrow()).filter(|_| planned.stage.always);
                (Status::Cancelled, again.unwrap_or_default().to_owned())
            }
        };
        let duration_ms = exit.map_or_else(|| self.since_begin(), |exit| exit.duration.as_millis() as u64);
        let room = Some(room.name().to_owned());
        Ended { status, exit_code: None, duration_ms, reason, room, forgiven, infrastructure: false }
    }

    /// How a stage ended by itself. One that failed for want of room is not the script's fault.
    fn judged(&self, planned: &Planned, room: &Room, exit: &Exit) -> Ended {
        let room = Some(room.name().to_owned());
        let ended = Ended { room, ..verdict(exit, &planned.stage.allow_failure) };
        match self.full_disk().filter(|_| matches!(ended.status, Status::Failed | Status::Error)) {
            Some(words) => {
                let reason = format!("{words} ({})", ended.reason);
                Ended { status: Status::Error, reason, infrastructure: true, forgiven: false, ..ended }
            }
            None => ended,
        }
    }

    /// Returns when the stage must not go on.
    async fn limits(&mut self, planned: &Planned, briefly: bool) -> Cut {
        let now = boot_ms();
        let began = self.state.current.as_ref().map_or(now, |current| current.began_ms);
        let own = planned.stage.timeout_ms.unwrap_or(u64::MAX);
        let (stage_left, limit, job_left) = if briefly {
            let since = *self.state.brief_ms.get_or_insert(now);
            let brief = left(since, BRIEFLY_MS, now);
            (left(began, own, now).min(brief), own.min(BRIEFLY_MS), Duration::MAX)
        } else {
            (left(began, own, now), own, left(self.state.began_ms, self.job.timeout_ms, now))
        };
        let mut stop = self.stop.clone();
        let cancelled = async {
            if !planned.stage.always {
                return at_least(&mut stop, Stop::Gently).await;
            }
            if !briefly {
                // It is there to clean up, so a cancel leaves it a while.
                at_least(&mut stop, Stop::Gently).await;
                let force = at_least(&mut stop, Stop::Force);
                let _ = tokio::time::timeout(Duration::from_millis(BRIEFLY_MS), force).await;
                return;
            }
            at_least(&mut stop, Stop::Force).await;
        };
        tokio::select! {
            biased;
            () = cancelled => Cut::Cancelled,
            () = tokio::time::sleep(stage_left) => Cut::Stage(limit),
            () = tokio::time::sleep(job_left) => Cut::Job,
        }
    }

    /// Ends a stage; when it does not end, its whole room.
    async fn kill(&self, planned: &Planned, room: &Room, handle: &StageHandle) -> Option<Exit> {
        let grace = if *self.stop.borrow() >= Stop::Force { Duration::ZERO } else { GRACE };
        let ended = async {
            room.kill(&planned.id.to_string(), grace).await?;
            handle.exit().await
        };
        match tokio::time::timeout(grace + GRACE, ended).await {
            Ok(Ok(exit)) => return Some(exit),
            Ok(Err(error)) => {
                tracing::warn!(stage = planned.id, "stage {} cannot be ended alone: {error}", planned.id);
            }
            Err(_) => tracing::warn!(stage = planned.id, "stage {} does not end", planned.id),
        }
        if let Err(error) = room.close().await {
            tracing::warn!(stage = planned.id, "the room of stage {} is left: {error}", planned.id);
        }
        None
    }

    /// The end of the stage under way when its room or the engine failed.
    fn broken(&self, failure: Failure) -> Ended {
        let failure = self.for_want_of_room(failure);
        Ended {
            status: Status::Error,
            exit_code: None,
            duration_ms: self.since_begin(),
            infrastructure: failure.is_infrastructure(),
            reason: failure.reason,
            room: self.state.current.as_ref().and_then(|current| current.room.clone()),
            forgiven: false,
        }
    }

    fn since_begin(&self) -> u64 {
        let now = boot_ms();
        now.saturating_sub(self.state.current.as_ref().map_or(now, |current| current.began_ms))
    }

    async fn start(&mut self, planned: &Planned, known: bool) -> Result<(Room, StageHandle), Failure> {
        let user = self.user()?;
        let room = match self.rooms.get(&planned.room.name) {
            Some(room) => room.clone(),
            None if known || !planned.room.own => {
                Err(ExecutorError::Lost(format!("the container of stage {} is gone", planned.stage.name)))?
            }
            None => {
                self.unsure = true;
                // Its image came in the setup, where the lines are read and a registry that is slow can be given up.
                let room = self.open(&planned.room, Pull::IfMissing, &mpsc::channel(1).0).await?;
                self.unsure = false;
                self.rooms.insert(planned.room.name.clone(), room.clone());
                room.bring_workspace(user.unwrap_or(User::ROOT)).await?;
                room
            }
        };
        let stage = &planned.stage;
        let place = Known { workspace: room.workspace(), stage: &stage.name, attempt: self.lease.attempt };
        let secrets = self.secrets.variables(&self.job.secrets_of(stage));
        let env = env::variables(&self.job.env, &stage.env, &secrets, &self.offer.variables, place);
        let files = self.secrets.files(&self.job.secrets_of(stage));
        if !known && !files.is_empty() {
            let owner = user.unwrap_or(User::ROOT);
            let home = room.home(&env, owner);
            room.put(&secrets::placed(files, &home), &home, owner).await?;
        }
        let key = planned.id.to_string();
        let order = Order {
            key: &key,
            run: &stage.run,
            env: &env,
            workdir: &stage.workdir,
            user,
            // More than the log takes, so that a long line that is cut leaves room for what follows it.
            cap: self.shop.log_cap.saturating_mul(2).saturating_add(16 << 20),
            show: true,
        };
        let handle = room.start(order).await?;
        Ok((room, handle))
    }
}
