//! Text that people are shown: which characters of others it must not have, and numbers with their nouns. Pure.

/// Characters that end a line, are an order to a terminal, or change the direction of what stands around them.
#[must_use]
pub fn is_order(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number and what it counts: `1 alert`, `2 alerts`, `1 action waits`.
#[must_use]
pub fn with_noun(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_noun() {
        let said = [0, 1, 2].map(|number| with_noun(number, "action waits", "actions wait"));
        assert_eq!(said, ["0 actions wait", "1 action waits", "2 actions wait"]);
    }

    #[test]
    fn what_moves_a_terminal_or_turns_text_round_is_an_order() {
        for order in [
            '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{61c}', '\u{200e}', '\u{2028}', '\u{202e}',
            '\u{2066}',
        ] {
            assert!(is_order(order), "{order:?}");
        }
        for letter in ['a', 'ü', '中', '…', '\u{200d}', '\u{fffd}'] {
            assert!(!is_order(letter), "{letter:?}");
        }
    }
}
