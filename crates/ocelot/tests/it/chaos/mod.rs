//! Things go wrong on purpose, and afterwards the oracle says whether Ocelot kept its promises.
//!
//! Each scenario makes a [`World`](world::World) of real processes, breaks something in it, lets it heal, and ends with
//! [`World::oracle`](world::World::oracle). Timers are shortened by `--lease-hard-limit` alone; everything else follows
//! from it. What takes longer than a busy machine can afford at each change runs with the feature `chaos-all`.

mod clock;
mod database;
mod disk;
mod dockerd;
mod engine;
mod fleet;
mod flood;
mod network;
mod oracle;
mod server;
mod subscriptions;
mod worker;
mod world;
