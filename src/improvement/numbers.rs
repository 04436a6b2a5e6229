//! Counts as fractions, and fractions as people read them.

/// A count to calculate with.
#[expect(clippy::cast_precision_loss, reason = "a share of 2^53 things is no less true")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// The part of `whole` that `part` is; 0 of nothing.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// In the unit that people would choose.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        none if none <= 0.0 => "0".into(),
        small if small < 1e-6 => format!("{:.0} ns", small * 1e9),
        small if small < 1e-3 => format!("{:.1} µs", small * 1e6),
        small if small < 1.0 => format!("{:.1} ms", small * 1e3),
        large => format!("{large:.1} s"),
    }
}

/// With as many digits as tell something.
pub fn number(number: f64) -> String {
    match number {
        large if large.abs() >= 100.0 => format!("{large:.0}"),
        0.0 => "0".into(),
        small if small.abs() < 0.01 => format!("{small:.4}"),
        other => format!("{other:.2}"),
    }
}
