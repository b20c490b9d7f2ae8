//! What the crate promises, through its public interface.

mod prepare;
mod rewrites;
