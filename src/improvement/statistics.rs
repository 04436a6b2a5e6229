//! Whether two series of samples differ, and by how much. Pure, and the same at each call: what is drawn is drawn from a
//! fixed seed.
//!
//! Sources: Mann and Whitney 1947 (the test), Holm 1979 (many tests at once), Efron 1979 (the bootstrap).

use super::numbers::{float, share};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 400;
/// Series of at most this length are compared exactly.
const EXACT_MAX: usize = 20;

/// The middle value; of nothing 0.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(upper), lower) = (sorted.get(sorted.len() / 2), sorted.len().saturating_sub(1) / 2) else {
        return 0.0;
    };
    f64::midpoint(*upper, sorted.get(lower).copied().unwrap_or(*upper))
}

/// Medians of neighbours, at most `count` of them: what lasts for some seconds counts once, not once a second.
#[must_use]
pub fn blocks(values: &[f64], count: usize) -> Vec<f64> {
    let length = values.len().div_ceil(count.max(1)).max(1);
    values.chunks(length).map(median).collect()
}

/// How much of a sample's distance from the middle stays to the next one, from 0 to below 1: the correlation of neighbours in
/// both series, corrected for what a short series hides of it (Kendall 1954), and one standard error more.
#[must_use]
pub fn lasting(first: &[f64], second: &[f64]) -> f64 {
    let (mut together, mut alone) = (0.0, 0.0);
    for series in [first, second] {
        let mean = share(series.iter().sum(), size(series.len()));
        together += series.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
        alone += series.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    }
    let count = size(first.len() + second.len()).max(1.0);
    let seen = share(together, alone).max(0.0);
    (seen + (1.0 + 3.0 * seen) * 2.0 / count + 1.0 / count.sqrt()).min(0.95)
}

/// Mann and Whitney's U of the first series, and the two-sided probability of one so far from the middle where both come from
/// one distribution. Exact for short series without ties, else by the normal distribution, corrected for ties and
/// continuity. Of samples that depend on their neighbours (`lasting` above 0) there are in truth fewer.
#[must_use]
pub fn mann_whitney(first: &[f64], second: &[f64], lasting: f64) -> (f64, f64) {
    let (n, m) = (first.len(), second.len());
    if n == 0 || m == 0 {
        return (0.0, 1.0);
    }
    let mut all: Vec<(f64, bool)> =
        first.iter().map(|value| (*value, true)).chain(second.iter().map(|value| (*value, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|(value, _)| value.total_cmp(&all[at].0).is_eq()).count();
        // Ranks begin with 1; equal values share the mean of theirs.
        let rank = size(at) + f64::midpoint(1.0, size(same));
        ranks += rank * size(all[at..at + same].iter().filter(|(_, is_first)| *is_first).count());
        ties += size(same).powi(3) - size(same);
        at += same;
    }
    let (n_, m_) = (size(n), size(m));
    let u = ranks - n_ * (n_ + 1.0) / 2.0;
    if ties == 0.0 && lasting <= 0.0 && n <= EXACT_MAX && m <= EXACT_MAX {
        return (u, exact(n, m, u.min(n_ * m_ - u)));
    }
    let total = n_ + m_;
    let fewer = (1.0 + lasting) / (1.0 - lasting);
    let variance = fewer * n_ * m_ / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return (u, 1.0);
    }
    let distance = ((u - n_ * m_ / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    (u, erfc(distance / std::f64::consts::SQRT_2))
}

fn size(count: usize) -> f64 {
    float(count as u64)
}

/// How probable a U of at most `smaller` is, on both sides: from the Gaussian binomial coefficient, whose coefficients say
/// how many orders have which U.
#[expect(clippy::cast_precision_loss, reason = "a probability is a fraction")]
fn exact(n: usize, m: usize, smaller: f64) -> f64 {
    let mut orders = vec![0i128; n * m + 1];
    orders[0] = 1;
    for step in 1..=n {
        for at in (m + step..orders.len()).rev() {
            orders[at] -= orders[at - m - step];
        }
        for at in step..orders.len() {
            orders[at] += orders[at - step];
        }
    }
    let all: i128 = orders.iter().sum();
    let below = orders.iter().enumerate().filter(|(u, _)| size(*u) <= smaller).map(|(_, count)| count);
    (2.0 * below.sum::<i128>() as f64 / all as f64).min(1.0)
}

/// The complementary error function, by Chebyshev's approximation (Press et al., `erfcc`): to 1.2e-7 of its value.
fn erfc(x: f64) -> f64 {
    const TERMS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let sum = TERMS.iter().rev().fold(0.0, |sum, term| sum * t + term);
    let value = t * (-x * x + sum).exp();
    if x >= 0.0 { value } else { 2.0 - value }
}

/// Holm's step-down: probabilities that stay below a bound together as seldom as one alone.
#[must_use]
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let mut adjusted = vec![1.0; probabilities.len()];
    let mut largest: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        largest = largest.max(probabilities[at] * size(probabilities.len() - rank)).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

/// Where 95 % of the ratios `second / first` of medians lie, of series drawn from these. Both have `least` added, so that
/// nothing is divided by nothing.
#[must_use]
pub fn ratio_interval(first: &[f64], second: &[f64], least: f64) -> (f64, f64) {
    let mut draw = Draw(0x6765_6d62_6100);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let (first, second) = (median(&draw.from(first)), median(&draw.from(second)));
            ratio(first, second, least)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |place: usize| ratios.get(place).copied().unwrap_or(1.0);
    (at(RESAMPLES / 40), at(RESAMPLES - 1 - RESAMPLES / 40))
}

/// `second / first`, both with `least` added.
#[must_use]
pub fn ratio(first: f64, second: f64, least: f64) -> f64 {
    let (first, second) = (first + least, second + least);
    if first > 0.0 { share(second, first) } else { 1.0 }
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// As many of `values`, each any of them.
    fn from(&mut self, values: &[f64]) -> Vec<f64> {
        let length = values.len() as u64;
        let any = |draw: u64| usize::try_from(draw % length.max(1)).unwrap_or_default();
        values.iter().map(|value| values.get(any(self.next())).copied().unwrap_or(*value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }

    #[test]
    fn medians_and_blocks() {
        near(median(&[3.0, 1.0, 2.0]), 2.0);
        near(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        near(median(&[]), 0.0);
        assert_eq!(blocks(&[1.0, 2.0, 9.0, 4.0, 5.0, 6.0, 7.0], 3), [2.0, 5.0, 7.0]);
        assert_eq!(blocks(&[1.0, 2.0], 20), [1.0, 2.0]);
    }

    /// The tortoises and hares of the literature (U 11 of 36), the examples of SciPy's `mannwhitneyu` (U 17,
    /// p 0.1111) and of R's `wilcox.test` (Hollander and Wolfe 1973: W 35, p 0.2544), and the shortest series that can differ.
    #[test]
    fn the_test_gives_published_values() {
        let tortoises = [1.0, 7.0, 8.0, 9.0, 10.0, 11.0].map(|rank: f64| -rank);
        let hares = [2.0, 3.0, 4.0, 5.0, 6.0, 12.0].map(|rank: f64| -rank);
        let (u, _) = mann_whitney(&tortoises, &hares, 0.0);
        near(u, 11.0);
        let (males, females) = ([19.0, 22.0, 16.0, 29.0, 24.0], [20.0, 11.0, 17.0, 12.0]);
        let (u, p) = mann_whitney(&males, &females, 0.0);
        near(u, 17.0);
        near(p, 0.111_111_1);
        let term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let (u, p) = mann_whitney(&term, &[1.15, 0.88, 0.90, 0.74, 1.21], 0.0);
        near(u, 35.0);
        near(p, 0.254_412_25);
        let (u, p) = mann_whitney(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], 0.0);
        near(u, 0.0);
        near(p, 2.0 / 70.0);
    }

    /// As SciPy's `mannwhitneyu(…, method='asymptotic')` says.
    #[test]
    fn ties_are_corrected_for() {
        let (u, p) = mann_whitney(&[1.0, 2.0, 2.0, 3.0, 4.0], &[2.0, 3.0, 4.0, 5.0, 6.0, 6.0], 0.0);
        near(u, 5.0);
        near(p, 0.077_946_9);
        near(mann_whitney(&[1.0; 30], &[1.0; 30], 0.0).1, 1.0);
        near(mann_whitney(&[], &[1.0], 0.0).1, 1.0);
    }

    #[test]
    fn the_exact_and_the_normal_probability_agree_for_long_series() {
        let first: Vec<f64> = (0..20).map(|n| f64::from(n) * 2.0).collect();
        let second: Vec<f64> = (0..20).map(|n| f64::from(n) * 2.0 + 9.0).collect();
        let (u, short) = mann_whitney(&first, &second, 0.0);
        let variance: f64 = 400.0 / 12.0 * 41.0;
        let normal = erfc(((u - 200.0).abs() - 0.5) / variance.sqrt() / std::f64::consts::SQRT_2);
        assert!((short - normal).abs() < 2e-3, "{short} {normal}");
        near(erfc(1.0), 0.157_299_2);
        near(erfc(0.0), 1.0);
    }

    /// Holm 1979, as R's `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")`.
    #[test]
    fn many_tests_are_corrected_as_published() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            near(found, expected);
        }
    }

    #[test]
    fn the_interval_of_a_ratio_holds_it() {
        let first: Vec<f64> = (0..20).map(|n| 100.0 + f64::from(n)).collect();
        let second: Vec<f64> = first.iter().map(|value| value * 1.2).collect();
        let (low, high) = ratio_interval(&first, &second, 0.0);
        assert!(low > 1.1 && low < 1.2 && high > 1.2 && high < 1.32, "{low} {high}");
        assert_eq!((low, high), ratio_interval(&first, &second, 0.0), "the same at each call");
        near(ratio(0.0, 0.0, 0.0), 1.0);
    }
}
