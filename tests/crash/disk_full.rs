//! Disk full.
