//! HTTP.

mod audit;
mod bad;
mod builds;
mod conditions;
mod groups;
mod insights;
mod logs;
mod pages;
mod pause;
mod queue;
mod rights;
mod secrets;
mod streams;
mod subscriptions;
mod times;
mod trust;
