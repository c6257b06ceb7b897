//! For tests only: the real `ocelot` executable in folders of its own, real git repositories, real images,
//! and the actors that use them. Nothing here knows how Ocelot works inside. Only forges are faked ([`FakeForge`]): nobody
//! can run theirs.
//!
//! What goes wrong here panics, with the words that a developer needs.

mod app;
mod authority;
mod cli;
mod disk;
mod docker;
pub mod forge;
mod island;
mod mail;
mod postgres;
mod process;
mod receiver;
mod repo;
mod s3;
mod ssh;
mod tls_front;
mod wait;
mod web;
mod wire;

pub use app::{Environment, Setup, Stages, TestApp};
pub use authority::Authority;
pub use cli::{Output, ocelot};
pub use disk::SmallDisk;
pub use docker::{
    BUSYBOX, containers, docker_image_busybox, inspect_containers, nothing_left, remove_containers,
};
pub use forge::{FakeForge, Fault};
pub use island::Island;
pub use mail::{MAIL_PASSWORD, MAIL_USER, MailServer, Mode};
pub use postgres::Postgres;
pub use process::Process;
pub use receiver::{Receiver, SLACK_CANARY, WEBHOOK_KEY};
pub use repo::GitRepo;
pub use s3::S3;
pub use ssh::SshHost;
pub use tls_front::TlsFront;
pub use wait::{DEADLINE, wait_for};
pub use web::{Manners, WebHost};
pub use wire::{Way, Wire};
