//! What manifests count: between two of a source stand as many of its signals as the later one counts more.

use std::collections::HashMap;

use gemba::event::{Event, Kind};
use gemba::manifest::Manifest;

use super::{Failure, violation};

/// By source: what its last manifest counted, and how many signals came since. Segments that were given back had others: before the
/// first manifest nothing is known.
#[derive(Debug, Default)]
pub struct Counted(HashMap<String, (Option<u64>, u64)>);

impl Counted {
    pub fn take(&mut self, event: &Event) -> Result<(), Failure> {
        match &event.kind {
            Kind::Signal(signal) => {
                let source = signal.provenance.source.to_string();
                self.0.entry(source).or_default().1 += 1;
            }
            Kind::Manifest(manifest) => self.look(event, manifest)?,
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, event: &Event, Manifest { hour, ends }: &Manifest) -> Result<(), Failure> {
        let (before, since) = self.0.entry(hour.source().to_owned()).or_default();
        if before.is_some_and(|before| before + *since != hour.count()) {
            let counted = hour.count();
            return violation(
                "O8",
                format!("event {} counts {counted}, and not {before:?} and {since}", event.seq),
            );
        }
        (*before, *since) = (Some(if *ends { 0 } else { hour.count() }), 0);
        Ok(())
    }
}
