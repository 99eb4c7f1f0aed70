//! What the group machine does, told by histories: a rig plays the clients, the log and the clock.

mod bad_input;
mod histories;
mod loading;
mod members;
mod offsets;
mod rig;
