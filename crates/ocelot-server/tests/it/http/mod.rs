//! HTTP.

mod bad;
mod builds;
mod logs;
mod rights;
mod streams;
