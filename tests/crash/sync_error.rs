//! Sync errors.
