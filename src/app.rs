//! The composition root: builds a node out of its parts and runs it until it is told to stop.
//!
//! Always holds: whatever keeps a node from starting is an error that names it.
//! Never: contains rules of its own.

use thiserror::Error;

use crate::config::Config;

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// This build has no node in it.
    #[error("the node in {0} cannot be started by this build")]
    Unavailable(String),
}

/// Runs a node until it is told to stop.
pub fn run(config: Config) -> Result<(), StartError> {
    Err(StartError::Unavailable(
        config.data_dir.display().to_string(),
    ))
}
