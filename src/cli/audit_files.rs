//! Files that have the receipts, in the line's terms.

use crate::andon::audit::{AuditError, AuditFile, AuditPlan, AuditSelection};
use crate::config::{Config, ConfigError, LogContent, LogFile, LogReceipts, NodeRole};

/// What is wrong with those of these files that are audit files.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn look_at<'f>(files: impl IntoIterator<Item = &'f LogFile>, role: NodeRole) -> Result<(), ConfigError> {
    let mut files = files.into_iter().filter(|file| file.content == LogContent::Audit);
    files.try_for_each(|file| look_at_one(file, role))
}

fn look_at_one(file: &LogFile, role: NodeRole) -> Result<(), ConfigError> {
    match role {
        NodeRole::Edge => {
            tracing::info!(
                target: "gemba::config",
                place = %file.place,
                path = %file.path.display(),
                "an edge decides nothing: it writes no audit file"
            );
            Ok(())
        }
        NodeRole::All | NodeRole::Processor => {
            let looked = AuditFile::new(audit_plan(file)).check();
            let wrong = |error: AuditError| {
                let what = ConfigError::new(&file.place, error.to_string());
                if error.passes() { what } else { what.hint(error.hint()) }
            };
            looked.map_err(wrong)
        }
    }
}

/// Files that have the receipts.
pub fn audit(config: &Config) -> Vec<AuditPlan> {
    let files = config.logging.files.iter().filter(|file| file.content == LogContent::Audit);
    files.filter(|_| config.role != NodeRole::Edge).map(audit_plan).collect()
}

fn audit_plan(file: &LogFile) -> AuditPlan {
    AuditPlan {
        path: file.path.clone(),
        max_bytes: file.max_bytes,
        max_files: file.max_files,
        selection: match file.receipts {
            LogReceipts::All => AuditSelection::All,
            LogReceipts::Acts => AuditSelection::Acts,
        },
    }
}
