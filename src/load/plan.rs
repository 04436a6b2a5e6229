//! Which signal is sent next. Everything about a request follows from the seed and its number, so threads need no
//! common state, a run can be repeated, and an accepted signal is remembered by its number alone.
//!
//! Tenants are skewed by Zipf's law, as real ones are: a few send most of the traffic, which is what a levelled line
//! must cope with. They are drawn from an alias table, at the same cost whatever their number.

use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

use crate::variants::{array, named};

/// What a request is meant to be.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumCount, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// New signals, rightly signed: 202.
    Valid,
    /// A wrong signature: 401.
    BadSignature,
    /// A body that was accepted already: 202 with `duplicate`.
    Duplicate,
    /// Rightly signed, yet no signal: 422.
    Malformed,
}

impl Kind {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);
}

/// Shares of the kinds, by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    weights: [u32; Kind::ALL.len()],
}

/// Why a text is no mix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMix {
    #[error("`{0}` is not of the form kind=weight")]
    Form(String),
    #[error("`{name}` is no kind of request; it {must}")]
    Kind { name: String, must: String },
    #[error("`{0}` stands twice")]
    Twice(&'static str),
    #[error("the weight `{0}` is not a whole number up to 1000000")]
    Weight(String),
    #[error("all weights are 0")]
    Empty,
    #[error("duplicates repeat accepted signals, so `valid` must have a weight too")]
    NothingToRepeat,
}

const WEIGHT_MAX: u32 = 1_000_000;

impl FromStr for Mix {
    type Err = BadMix;

    fn from_str(text: &str) -> Result<Self, BadMix> {
        let mut weights = [None; Kind::ALL.len()];
        for part in text.split(',').map(str::trim) {
            let (name, weight) = part.split_once('=').ok_or_else(|| BadMix::Form(part.into()))?;
            let kind = named(name, &Kind::ALL).map_err(|must| BadMix::Kind { name: name.into(), must })?;
            let parsed = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let parsed: u32 = parsed.ok_or_else(|| BadMix::Weight(weight.into()))?;
            if weights[kind as usize].replace(parsed).is_some() {
                return Err(BadMix::Twice(kind.into_str()));
            }
        }
        let weights = weights.map(Option::unwrap_or_default);
        if weights.iter().all(|weight| *weight == 0) {
            return Err(BadMix::Empty);
        }
        if weights[Kind::Duplicate as usize] > 0 && weights[Kind::Valid as usize] == 0 {
            return Err(BadMix::NothingToRepeat);
        }
        Ok(Self { weights })
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut comma = "";
        for (kind, weight) in Kind::ALL.into_iter().zip(self.weights).filter(|(_, weight)| *weight > 0) {
            write!(f, "{comma}{}={weight}", kind.into_str())?;
            comma = ",";
        }
        Ok(())
    }
}

impl Mix {
    fn pick(&self, random: u64) -> Kind {
        let total: u64 = self.weights.iter().copied().map(u64::from).sum();
        let mut left = below(random, total);
        for (kind, weight) in Kind::ALL.into_iter().zip(self.weights) {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Kind::Valid
    }
}

/// Draws numbers by Zipf's law: number k with a weight of 1/(k+1)^s. Walker's alias method, built as Vose does.
#[derive(Clone, Debug)]
pub struct Zipf {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// The column's own number is drawn below this, of 2^32; else the alias.
    keep: u32,
    alias: u32,
}

impl Zipf {
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of 2^32")]
    pub fn new(count: u32, exponent: f64) -> Self {
        let mut weights: Vec<f64> = (0..count).map(|rank| (f64::from(rank) + 1.0).powf(-exponent)).collect();
        let sum: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight *= f64::from(count) / sum;
        }
        let mut columns: Vec<Column> =
            (0..count).map(|rank| Column { keep: u32::MAX, alias: rank }).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..count).partition(|rank| weights[*rank as usize] < 1.0);
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            let own = weights[poor as usize];
            columns[poor as usize] = Column { keep: (own * f64::from(u32::MAX)) as u32, alias: rich };
            weights[rich as usize] -= 1.0 - own;
            if weights[rich as usize] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { columns }
    }

    #[expect(clippy::cast_possible_truncation, reason = "halves of a number, and a number below a u32")]
    fn pick(&self, random: u64) -> u32 {
        let (high, fraction) = (random >> 32, random as u32);
        let index = (high * self.columns.len() as u64) >> 32;
        let Some(column) = self.columns.get(index as usize) else { return 0 };
        if fraction < column.keep { index as u32 } else { column.alias }
    }
}

/// Which of several independent draws.
#[derive(Clone, Copy)]
enum Draw {
    Kind = 1,
    Tenant,
    Sku,
    Repeat,
}

/// The content of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    batch: u64,
    mix: Mix,
    tenants: Zipf,
    skus: u32,
}

impl Plan {
    #[must_use]
    pub fn new(seed: u64, batch: u32, mix: Mix, tenants: Zipf, skus: u32) -> Self {
        Self { seed, batch: u64::from(batch.max(1)), mix, tenants, skus: skus.max(1) }
    }

    #[must_use]
    pub fn kind(&self, request: u64) -> Kind {
        self.mix.pick(self.random(Draw::Kind, request))
    }

    /// The numbers of a request's signals.
    #[must_use]
    pub fn signals(&self, request: u64) -> Range<u64> {
        request * self.batch..(request + 1) * self.batch
    }

    #[must_use]
    pub fn tenant(&self, signal: u64) -> u32 {
        self.tenants.pick(self.random(Draw::Tenant, signal))
    }

    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "below a u32")]
    pub fn sku(&self, signal: u64) -> u32 {
        below(self.random(Draw::Sku, signal), u64::from(self.skus)) as u32
    }

    /// Which of `count` accepted requests a duplicate repeats.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
    pub fn repeat(&self, request: u64, count: usize) -> usize {
        below(self.random(Draw::Repeat, request), count as u64) as usize
    }

    /// SplitMix64 of seed, draw and number.
    fn random(&self, draw: Draw, number: u64) -> u64 {
        let mut z = self.seed ^ (draw as u64) << 56;
        z = z.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Maps a random number to one below `bound`, by multiplication.
fn below(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
mod tests {
    use super::*;

    #[test]
    fn tenants_come_as_often_as_zipf_says() {
        for exponent in [0.0, 1.0, 1.5] {
            let (count, draws) = (50u32, 400_000u64);
            let mix = "valid=1".parse().unwrap();
            let plan = Plan::new(7, 1, mix, Zipf::new(count, exponent), 7);
            let mut seen = vec![0u64; count as usize];
            (0..draws).for_each(|signal| seen[plan.tenant(signal) as usize] += 1);
            let sum: f64 = (1..=count).map(|rank| f64::from(rank).powf(-exponent)).sum();
            for (rank, seen) in (1..=count).zip(seen) {
                let expected = draws as f64 * f64::from(rank).powf(-exponent) / sum;
                let off = (seen as f64 - expected).abs();
                assert!(off < 5.0 * expected.sqrt() + 1.0, "{exponent} {rank}: {seen} for {expected}");
            }
        }
    }

    #[test]
    fn one_tenant_and_one_sku_are_always_the_first() {
        let plan = Plan::new(1, 3, "valid=1".parse().unwrap(), Zipf::new(1, 1.0), 1);
        assert!((0..1000).all(|signal| plan.tenant(signal) == 0 && plan.sku(signal) == 0));
        assert_eq!(plan.signals(2), 6..9);
    }

    #[test]
    fn the_mix_is_kept_and_a_seed_repeats_it() {
        let mix: Mix = "valid=90,bad-signature=5,duplicate=3,malformed=2".parse().unwrap();
        let plan = |seed| Plan::new(seed, 1, mix, Zipf::new(10, 1.0), 7);
        let kinds = |seed| (0..100_000).map(|request| plan(seed).kind(request)).collect::<Vec<_>>();
        let once = kinds(3);
        for (kind, share) in Kind::ALL.into_iter().zip([0.90, 0.05, 0.03, 0.02]) {
            let seen = once.iter().filter(|seen| **seen == kind).count() as f64 / 100_000.0;
            assert!((seen - share).abs() < 0.004, "{kind:?} {seen}");
        }
        assert_eq!(once, kinds(3));
        assert_ne!(once, kinds(4));
    }

    #[test]
    fn a_wrong_mix_is_told_what_is_wrong() {
        let parse = |text: &str| text.parse::<Mix>().unwrap_err();
        assert_eq!(parse("valid"), BadMix::Form("valid".into()));
        assert_eq!(parse("valid=1,,"), BadMix::Form(String::new()));
        assert_eq!(
            parse("wrong=1"),
            BadMix::Kind {
                name: "wrong".into(),
                must: "must be valid, bad-signature, duplicate or malformed".into()
            }
        );
        assert_eq!(parse("valid=1,valid=2"), BadMix::Twice("valid"));
        assert_eq!(parse("valid=-1"), BadMix::Weight("-1".into()));
        assert_eq!(parse("valid=1000001"), BadMix::Weight("1000001".into()));
        assert_eq!(parse("valid=0"), BadMix::Empty);
        assert_eq!(parse("duplicate=1"), BadMix::NothingToRepeat);
        assert_eq!("valid=9, malformed=1".parse::<Mix>().unwrap().to_string(), "valid=9,malformed=1");
    }
}
