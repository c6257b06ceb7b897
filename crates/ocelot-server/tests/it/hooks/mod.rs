//! Webhooks, from the signed request to the build.

mod events;
mod receiving;
mod world;
