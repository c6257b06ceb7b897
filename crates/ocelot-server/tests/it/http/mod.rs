//! HTTP.

mod bad;
mod builds;
mod groups;
mod logs;
mod pages;
mod queue;
mod rights;
mod streams;
