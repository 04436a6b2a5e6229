//! What the targets share: plain second opinions, and a disk in memory.
//!
//! Each target reads a text, so that its seeds can be read and a finding says by itself what it is.
//!
//! ```text
//! cargo +nightly fuzz run signal_parse                      # or, without a nightly:
//! RUSTC_BOOTSTRAP=1 cargo fuzz run signal_parse -- -max_total_time=30
//! ```

use gemba::expression;

pub mod json;
pub mod memory;
// Only the unit tests of the crate have it, and the fuzz targets cannot see those.
#[path = "../../src/expression/tests/oracle.rs"]
pub mod oracle;
pub mod reference;
