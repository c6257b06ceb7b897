//! A server and the four forges, faked over real HTTP.

mod add;
mod scene;
mod statuses;
mod watch;
