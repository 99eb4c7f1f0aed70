//! Owns how this broker copies what others lead. Kafka: `ReplicaFetcherManager`, `ReplicaFetcherThread`.
//!
//! | file | open it for |
//! |---|---|
//! | `state`, `session` | what the next request says, and what an answer means for each partition; pure |
//! | [`task`] | one fetcher: asks, appends, cuts |
//! | [`manager`] | which fetcher has which partition |

pub(super) mod manager;
mod session;
mod state;
pub(super) mod task;
