//! Lists of variants, and variants by their names. `strum` derives both from the one declaration of an enum.

use std::str::FromStr;

/// All variants, in the order of their declaration: `const ALL: [Self; Self::COUNT] = variants::array(Self::VARIANTS)`.
#[must_use]
pub const fn array<T: Copy, const COUNT: usize>(variants: &'static [T]) -> [T; COUNT] {
    match variants.first_chunk() {
        Some(all) => *all,
        None => panic!("there are as many as `strum` counts"),
    }
}

/// The variant of this name; else what the name must be, in words.
///
/// # Errors
/// `must be open, replayed or discarded`.
pub fn named<T: FromStr + Copy + Into<&'static str>>(name: &str, all: &[T]) -> Result<T, String> {
    name.parse().map_err(|_| {
        let names: Vec<&str> = all.iter().map(|variant| (*variant).into()).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("must be {} or {last}", rest.join(", ")),
            _ => format!("must be {}", names.concat()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Cause, Status};

    #[test]
    fn a_name_that_is_none_is_answered_with_those_that_are() {
        assert_eq!(named("target", &Cause::ALL), Ok(Cause::Target));
        assert_eq!(named("Open", &Status::ALL).unwrap_err(), "must be open, replayed or discarded");
    }
}
