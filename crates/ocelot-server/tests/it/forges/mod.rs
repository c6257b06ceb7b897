//! A server and the four forges, faked over real HTTP.

mod add;
mod ca;
mod credentials;
mod reconcile;
mod scene;
mod statuses;
mod watch;
