//! The few metrics that a look needs, read from the page of `/metrics` (Prometheus text 0.0.4).

use std::collections::BTreeMap;

use crate::kaizen::Metric;

/// The samples of [`READ`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsPage(Vec<(Metric, Box<str>, f64)>);

/// What is read; each has one label or none.
const READ: [Metric; 7] = [
    Metric::QueueDepth,
    Metric::WaitingBytes,
    Metric::Receipts,
    Metric::DiskFree,
    Metric::DeadLettersOpen,
    Metric::Governors,
    Metric::TargetBreaker,
];

impl MetricsPage {
    /// Reads a page. Lines that are not understood are passed over: a later version may have them.
    pub fn read(page: &str) -> Self {
        let samples = page.lines().filter_map(|line| {
            let name = line.split(['{', ' ']).next()?;
            let metric = READ.into_iter().find(|metric| metric.declared().name == name)?;
            let rest = &line[name.len()..];
            let (label, rest) = match rest.strip_prefix('{') {
                Some(rest) => label(rest)?,
                None => (String::new(), rest),
            };
            let value = rest.split_whitespace().next()?.parse().ok()?;
            Some((metric, label.into(), value))
        });
        Self(samples.collect())
    }

    /// The value of a metric without labels.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        self.0.iter().find(|(of, ..)| *of == metric).map(|(.., value)| *value)
    }

    /// Values by label.
    pub fn by_label(&self, metric: Metric) -> BTreeMap<&str, f64> {
        let samples = self.0.iter().filter(|(of, ..)| *of == metric);
        samples.map(|(_, label, value)| (&**label, *value)).collect()
    }
}

/// The value of the only label, and what follows the brace.
fn label(text: &str) -> Option<(String, &str)> {
    let (_, quoted) = text.split_once("=\"")?;
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, quoted[at + 1..].trim_start_matches(',').strip_prefix('}')?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_read_with_their_label_and_the_rest_is_passed_over() {
        let page = "# HELP gemba_disk_free_bytes x\ngemba_disk_free_bytes 1.5e9\nqueue_depth 7\n\
                    gemba_target_breaker{target=\"a \\\"b\\\" \\\\ } c\\n\"} 2\n\
                    gemba_target_breaker{target=\"d\"} 1 1700000000\n\
                    gemba_target_breaker{target=\"torn\ngemba_governors nonsense\ngemba_disk_free_bytes_more 3\n\n";
        let page = MetricsPage::read(page);
        assert_eq!(page.value(Metric::DiskFree), Some(1.5e9));
        assert_eq!(page.value(Metric::QueueDepth), Some(7.0));
        assert_eq!(page.value(Metric::Governors), None);
        assert_eq!(page.by_label(Metric::TargetBreaker), [("a \"b\" \\ } c\n", 2.0), ("d", 1.0)].into());
    }

    #[test]
    fn what_is_read_has_one_label_at_most() {
        for metric in READ {
            assert!(metric.declared().labels.len() <= 1, "{metric:?}");
        }
    }
}
