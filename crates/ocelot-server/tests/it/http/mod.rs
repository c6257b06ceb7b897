//! HTTP.

mod bad;
mod builds;
mod logs;
mod pages;
mod rights;
mod streams;
