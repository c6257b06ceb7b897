//! HTTP.

mod bad;
mod builds;
mod logs;
mod pages;
mod queue;
mod rights;
mod streams;
