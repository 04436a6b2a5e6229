//! What is on disk when the memory is opened: runs that follow one another without a gap.
//!
//! A crash may leave files that were not finished, and runs whose merged successor is there already; both are set
//! aside. Files of earlier runs that wait to be used again are taken over. Where a run is damaged or missing, the archive ends before it, and what comes after must be in the journal
//! still: then it is rebuilt from there, else the start is refused with the file's name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::{SPARE, UNFINISHED, events_of};
use super::run::{ArchiveError, Run, at};
use crate::disk::{Disk, set_aside};
use crate::event::Seq;
use crate::limits::DEDUP_RUNS_MERGED;

#[derive(Debug)]
pub(super) struct Found {
    /// From the oldest to the newest; each begins where the one before ends.
    pub runs: Vec<Arc<Run>>,
    /// Identities of the events up to here are in the runs, or beyond the horizon.
    pub through: Seq,
    /// What is wrong with the rest, if there is more in the directory.
    pub damage: Option<ArchiveError>,
    /// Files that nobody needs, if the journal reaches back to the end of the runs.
    pub surplus: Vec<PathBuf>,
    /// Files that a new run can be written into.
    pub spares: Vec<PathBuf>,
}

pub(super) fn find(disk: &dyn Disk, dir: &Path) -> Result<Found, ArchiveError> {
    let (mut names, mut spares) = (Vec::new(), Vec::new());
    for path in disk.list(dir).map_err(at(dir))? {
        let is = |extension| path.extension().is_some_and(|of| of == extension);
        if is(UNFINISHED) || is(SPARE) && spares.len() >= DEDUP_RUNS_MERGED {
            set_aside(disk, &path).map_err(at(&path))?;
        } else if is(SPARE) {
            spares.push(path);
        } else if let Some((after, through)) = events_of(&path) {
            names.push((after, std::cmp::Reverse(through), path));
        }
    }
    // Of those that begin together the longest first: the others are inside it.
    names.sort();
    // What the oldest does not speak of was beyond the horizon.
    let begin = names.first().map_or(Seq(0), |(after, ..)| *after);
    let mut found = Found { runs: Vec::new(), through: begin, damage: None, surplus: Vec::new(), spares };
    for (after, _, path) in names {
        if after != found.through {
            if after > found.through && found.damage.is_none() {
                let (path, from) = (dir.to_owned(), found.through.next());
                found.damage = Some(ArchiveError::Missing { path, from, before: after });
            }
            found.surplus.push(path);
            continue;
        }
        match open(disk, &path) {
            Ok(run) => {
                found.through = run.header.through;
                found.runs.push(Arc::new(run));
            }
            Err(damage @ ArchiveError::Damaged { .. }) => {
                found.damage = Some(damage);
                found.surplus.push(path);
            }
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Run, ArchiveError> {
    let run = Run::open(disk, path)?;
    if events_of(path) != Some((run.header.after, run.header.through)) {
        let why = "its name and its header speak of different events";
        return Err(ArchiveError::Damaged { path: path.to_owned(), why });
    }
    Ok(run)
}
