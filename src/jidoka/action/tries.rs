//! What the receipt of an action tells of its calls: when each began, how long it took, and why it missed. Of many the first and
//! the last ones are told, and how many there were.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::event::Tries;

/// The calls of one action so far.
#[derive(Debug, Default)]
pub struct Tried {
    count: u32,
    first: Vec<Value>,
    last: VecDeque<Value>,
    /// There may have been others before, of which nothing is known.
    has_unknown: bool,
}

/// Calls that are told: these at the beginning, and these at the end.
const FIRST: usize = 2;
const LAST: usize = 4;
/// Bytes of why a call missed. All together have room in a receipt, also where JSON writes each as two.
const MISSED_BYTES_MAX: usize = 120;

impl Tried {
    /// Of an order that may have been called before.
    pub fn new(has_unknown: bool) -> Self {
        Self { has_unknown, ..Self::default() }
    }

    /// A call that began this long after the action was ordered is over.
    pub fn add(&mut self, after: Duration, took: Duration, missed: Option<&str>) {
        self.count += 1;
        let missed = missed.map(|why| {
            let cut = &why[..why.floor_char_boundary(MISSED_BYTES_MAX)];
            cut.replace(char::is_control, " ")
        });
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let call = json!({
            "after_ms": millis(after), "call": self.count, "missed": missed, "took_ms": millis(took),
        });
        if self.first.len() < FIRST {
            return self.first.push(call);
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(call);
    }

    /// As the receipt has it; `None` where there was no call.
    #[must_use]
    pub fn told(self) -> Option<Tries> {
        let Self { count, first, last, has_unknown } = self;
        let calls: Vec<Value> = first.into_iter().chain(last).collect();
        let text = || {
            let mut told = json!({"calls": calls, "count": count});
            if has_unknown {
                told["earlier"] = "unknown".into();
            }
            told.to_string()
        };
        // It is an object, and the bounds above keep it short enough.
        (count > 0).then(|| Tries::new(text().into()).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_calls_are_told_and_all_are_counted() {
        let millis = Duration::from_millis;
        assert_eq!(Tried::default().told(), None);
        for text in ["\"", "\\", "\u{1}", "\u{2028}", "é", "\u{10ffff}"] {
            let mut tried = Tried::new(true);
            for _ in 0..100 {
                tried.add(Duration::MAX, Duration::MAX, Some(&text.repeat(1000)));
            }
            assert!(tried.told().is_some(), "the longest fits: {text:?}");
        }
        let mut tried = Tried::default();
        for number in 0..100u64 {
            tried.add(millis(10 * number), millis(7), (number < 99).then_some("answered 503"));
        }
        let told: Value = serde_json::from_str(tried.told().unwrap().as_str()).unwrap();
        let calls = told["calls"].as_array().unwrap();
        let numbers: Vec<u64> = calls.iter().map(|call| call["call"].as_u64().unwrap()).collect();
        assert_eq!((numbers, &told["count"]), (vec![1, 2, 97, 98, 99, 100], &json!(100)));
        assert_eq!(calls[0], json!({"after_ms": 0, "call": 1, "missed": "answered 503", "took_ms": 7}));
        assert_eq!((&calls[5]["missed"], told.get("earlier")), (&Value::Null, None));
    }

    #[test]
    fn where_calls_before_are_not_known_it_says_so() {
        let mut tried = Tried::new(true);
        tried.add(Duration::from_secs(9), Duration::ZERO, None);
        let call = r#"{"after_ms":9000,"call":1,"missed":null,"took_ms":0}"#;
        let told = format!(r#"{{"calls":[{call}],"count":1,"earlier":"unknown"}}"#);
        assert_eq!(tried.told().unwrap().as_str(), told);
        assert_eq!(Tried::new(true).told(), None);
    }
}
