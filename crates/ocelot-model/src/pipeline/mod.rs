//! `ocelot.yml`: from text to a checked plan.
//!
//! The way of a file: `yaml` makes a tree of the bytes, `shape` checks it against the tables in
//! `keys`, `read` makes a [`Pipeline`] of it, and [`decide`] says which of its stages a build runs. No part of it reads a file or a clock. Anchors, aliases
//! and `<<` merges are allowed, and count as what they unfold to.

mod condition;
mod env;
mod glob;
mod image;
mod init;
mod keys;
mod limits;
mod matrix;
mod needs;
mod notify;
mod parse;
mod place;
pub mod problem;
mod read;
mod render;
mod schema;
mod shape;
pub mod spec;
mod stage;
mod subscription;
mod text;
mod tree;
mod trigger;
mod yaml;

pub use condition::{Condition, Facts, Files, Judge, Verdict, decide};
pub use env::{EnvNameError, check_env_name};
pub use init::starter;
pub use keys::NOT_SUPPORTED_YET;
pub use limits::Limits;
pub use parse::{parse, parse_within};
pub use problem::{Problem, Problems};
pub use render::render;
pub use schema::json_schema;
pub use spec::{
    AllowFailure, Checkout, Decided, Job, Pipeline, Pull, Resources, Retry, Run, Schedule, Stage,
};
pub use subscription::{Subscription, variable_names};
pub use trigger::{branch_matches, check_branches};
