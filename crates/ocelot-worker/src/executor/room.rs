//! A room: where the stages of one attempt run that share an image.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ocelot_model::pipeline::spec::Run;

use super::docker::Container;
use super::files::Files;
use super::host::Tree;
use super::link::Link;
use super::place::is_name;
use super::script::{self, Command};
use super::shim::wire::{self, Ask, Ended, How};
use super::{ExecutorError, File, Frames, User};

/// A container, or a process tree on the host, that takes stages. Cheap to clone; dropping ends nothing.
#[derive(Debug, Clone)]
pub struct Room(Arc<Inner>);

/// What a room and the handles of its stages share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) keeper: Keeper,
    pub(crate) link: Link,
    pub(crate) files: Files,
    /// The workspace and the shim's folder as stages see them.
    pub(crate) workspace: String,
    pub(crate) io: String,
    /// Variables that every stage has unless it says otherwise.
    pub(crate) env: Vec<(String, String)>,
}

/// What must be ended in the end.
#[derive(Debug)]
pub(crate) enum Keeper {
    Docker(Container),
    Host(Tree),
}

/// One stage, as it is sent into a room.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Unique within the room, the same when sent again: 1 to 64 of `a-z A-Z 0-9 . _ -`. The stage's id.
    pub key: &'a str,
    /// What runs.
    pub run: &'a Run,
    /// Variables, low to high; they go over those of the image (or of the worker on the host).
    pub env: &'a [(String, String)],
    /// Folder below the workspace.
    pub workdir: &'a str,
    /// Who it runs as; `None` is root in a container and the worker's own user on the host.
    pub user: Option<User>,
    /// Bytes that the output may take on disk (12 more per piece than it has itself). What comes after is
    /// counted and dropped, the stage goes on.
    pub cap: u64,
    /// Shows each line of a script before it runs.
    pub show: bool,
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its first process ended with this code.
    Code(i32),
    /// Its first process was ended by this signal.
    Signal(i32),
    /// Nothing ran, for this reason (no shell in the image, no such program, no such folder).
    NotStarted(String),
}

/// The end of a stage. When it is known, nothing of the stage runs any more and all output is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How.
    pub outcome: Outcome,
    /// Something of it was killed because the room was out of memory.
    pub oom: bool,
    /// From its start to the end of its first process.
    pub duration: Duration,
    /// Where its frames end: the last [`super::Frame::next`].
    pub frames_end: u64,
    /// Bytes of output that did not fit under the cap.
    pub dropped: u64,
}

impl Room {
    pub(crate) fn new(inner: Inner) -> Room {
        Room(Arc::new(inner))
    }

    /// The name it was opened with.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The workspace as stages see it: the value of `WORKSPACE`.
    pub fn workspace(&self) -> &str {
        &self.0.workspace
    }

    /// Copies the place's workspace into the room when the engine shares no folder with this machine;
    /// otherwise there is nothing to do. Call it after the checkout, before the first stage.
    pub async fn bring_workspace(&self, owner: User) -> Result<(), ExecutorError> {
        match &self.0.keeper {
            Keeper::Docker(container) => container.bring_workspace(owner).await,
            Keeper::Host(_) => Ok(()),
        }
    }

    /// Puts files into the room for `owner`, who alone may read them. The home folder, where there is none in `env`, is that of
    /// the shim.
    pub async fn put(&self, files: &[File], home: &str, owner: User) -> Result<(), ExecutorError> {
        match &self.0.keeper {
            Keeper::Docker(container) => container.put(files, home, owner).await,
            Keeper::Host(_) => {
                let words =
                    "a credential that is a file needs a container: it would stay on the worker's machine";
                Err(ExecutorError::Refused(words.into()))
            }
        }
    }

    /// The home folder of a stage with these variables.
    pub fn home(&self, env: &[(String, String)], user: User) -> String {
        let set = self.0.env.iter().chain(env).rev().find(|(name, _)| name == "HOME");
        match set {
            Some((_, home)) => home.clone(),
            None if user == User::ROOT => "/root".to_owned(),
            None => "/".to_owned(),
        }
    }

    /// Starts a stage. Sent twice with one key, it starts once: after a lost answer just send it again.
    pub async fn start(&self, order: Order<'_>) -> Result<StageHandle, ExecutorError> {
        if !is_name(order.key) {
            return Err(ExecutorError::Refused(format!("`{}` cannot be a stage's key", order.key)));
        }
        let ask = Ask::Start(self.order(order));
        if ask.encode(0).len() > wire::MAX_ASK {
            return Err(ExecutorError::Refused("the script and its variables are over 16 MiB".into()));
        }
        let stage = self.handle(order.key);
        self.0.link.ask(&ask).await?;
        Ok(stage)
    }

    /// The stage of this key if it was ever started in this room: for a worker that came back.
    pub async fn stage(&self, key: &str) -> Result<Option<StageHandle>, ExecutorError> {
        let started = is_name(key) && self.0.files.started(&self.0.link, key).await?;
        Ok(started.then(|| self.handle(key)))
    }

    /// Asks all processes of a stage to end (SIGTERM), and kills them when `grace` has passed. Returns when
    /// the order has arrived; [`StageHandle::exit`] tells the end. Nothing happens for a stage that has ended.
    pub async fn kill(&self, key: &str, grace: Duration) -> Result<(), ExecutorError> {
        let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        self.0.link.ask(&Ask::Kill { key: key.to_owned(), grace_ms }).await.map(drop)
    }

    /// Ends everything in the room, removes the container and looks that it is gone. Files stay in the place.
    pub async fn close(&self) -> Result<(), ExecutorError> {
        match &self.0.keeper {
            Keeper::Docker(container) => container.remove().await,
            Keeper::Host(tree) => tree.end(&self.0.link).await,
        }
    }

    fn handle(&self, key: &str) -> StageHandle {
        // From now on what is said of this stage is kept, also when nobody reads yet.
        drop(self.0.link.follow(key));
        StageHandle { room: Arc::clone(&self.0), key: key.to_owned() }
    }

    fn order(&self, order: Order<'_>) -> wire::Order {
        let path = format!("{}/{}.sh", self.0.io, order.key);
        let Command { argv, script } = script::command(order.run, &path, order.show);
        let mut env: Vec<(&str, &str)> = Vec::new();
        for (name, value) in self.0.env.iter().chain(order.env) {
            env.retain(|(known, _)| known != name);
            env.push((name, value));
        }
        wire::Order {
            key: order.key.to_owned(),
            cap: order.cap,
            user: order.user.map(|user| (user.uid, user.gid)),
            cwd: PathBuf::from(&self.0.workspace).join(order.workdir).into_os_string().into_encoded_bytes(),
            argv: argv.into_iter().map(String::into_bytes).collect(),
            env: env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect(),
            script,
        }
    }
}

impl Inner {
    /// The exit of a stage if it is there; an error when it was announced and is not.
    pub(crate) async fn exit_file(&self, key: &str, announced: bool) -> Result<Option<Ended>, ExecutorError> {
        let ended = self.files.exit(&self.link, key).await?;
        if announced && ended.is_none() {
            if self.files.has_no_room() {
                let what = "how the stage ended could not be written down".to_owned();
                return Err(ExecutorError::Io { what, source: std::io::ErrorKind::StorageFull.into() });
            }
            return Err(ExecutorError::Tampered("its exit code was removed".to_owned()));
        }
        Ok(ended)
    }
}

/// A started stage. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StageHandle {
    room: Arc<Inner>,
    key: String,
}

impl StageHandle {
    /// Output from a position on: 0, or a [`super::Frame::next`].
    pub fn frames(&self, from: u64) -> Frames {
        Frames::new(Arc::clone(&self.room), self.key.clone(), from)
    }

    /// Waits for the end. [`ExecutorError::Lost`] when the room ended without telling how the stage did.
    pub async fn exit(&self) -> Result<Exit, ExecutorError> {
        let mut news = self.room.link.follow(&self.key);
        let mut look = true;
        loop {
            let (ended, lost) = {
                let news = news.borrow_and_update();
                (news.ended(&self.key), news.lost)
            };
            if look || ended || lost {
                look = false;
                if let Some(ended) = self.room.exit_file(&self.key, ended).await? {
                    return Ok(ended.into());
                }
            }
            if lost {
                let reason = match &self.room.keeper {
                    Keeper::Docker(container) => container.epitaph().await,
                    Keeper::Host(_) => "the stage's processes were killed from outside".to_owned(),
                };
                return Err(ExecutorError::Lost(reason));
            }
            // Fails only when the link is dropped, which the room holds.
            let _ = news.changed().await;
        }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Exit {
        Exit {
            outcome: match ended.how {
                How::Code(code) => Outcome::Code(code),
                How::Signal(signal) => Outcome::Signal(signal),
                How::NotStarted(why) => Outcome::NotStarted(why),
            },
            oom: ended.oom,
            duration: Duration::from_micros(ended.duration_us),
            frames_end: ended.frames_end,
            dropped: ended.dropped,
        }
    }
}
