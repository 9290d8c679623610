//! The composition root: builds a node out of its parts and runs it until it is told to stop.
//!
//! Always holds: whatever keeps a node from starting is an error that names it.
//! Never: contains rules of its own.

use std::path::PathBuf;

use thiserror::Error;

use crate::config::Config;

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// This build has no node in it.
    #[error("the node in {} cannot be started by this build", .0.display())]
    Unavailable(PathBuf),
}

/// Runs a node until it is told to stop.
pub fn run(config: Config) -> Result<(), StartError> {
    Err(StartError::Unavailable(config.data_dir))
}
