//! What the crate promises, through its public interface.

mod habits;
mod properties;
mod typed;
