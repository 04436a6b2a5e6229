//! Who is written to: addresses of mail and numbers of telephones, each in the one form that needs no quoting.

use toml::Spanned;

use super::layers::{Set, set};
use crate::place::{ConfigError, Text};
use crate::printable::is_order;

/// RFC 5321, 4.5.3.1: a path has 256 characters with its angle brackets.
const MAIL_ADDRESS_MAX: usize = 254;

/// A list of them, none twice.
///
/// # Errors
/// The first that is wrong, with its place.
pub fn recipients(
    text: &Text,
    list: &Set<Vec<Spanned<String>>>,
    check: fn(&str) -> Result<String, String>,
    most: usize,
) -> Result<Vec<String>, ConfigError> {
    if list.value.is_empty() || list.value.len() > most {
        let what =
            format!("`{}`: it has {} recipients; 1 to {most} are written to", list.key, list.value.len());
        return Err(ConfigError::new(&list.place, what));
    }
    let mut found: Vec<String> = Vec::new();
    for one in &list.value {
        let checked = set(text, one).map(|text| check(&text))?;
        if found.contains(&checked) {
            let what = format!("`{}`: `{checked}` is there twice", list.key);
            return Err(ConfigError::new(&text.place(&one.span()), what));
        }
        found.push(checked);
    }
    Ok(found)
}

/// `local@domain`, without a name beside it, quotes and comments.
///
/// # Errors
/// When it is none.
pub fn mail_address(text: &str) -> Result<String, String> {
    let is_plain = |c: char| !is_order(c) && !c.is_whitespace() && !"<>()[]\",;:\\@".contains(c);
    let fits = text.rsplit_once('@').is_some_and(|(local, domain)| {
        let labels = domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
        !local.is_empty() && local.chars().all(is_plain) && labels && domain.chars().all(is_plain)
    });
    if fits && text.len() <= MAIL_ADDRESS_MAX {
        Ok(text.to_owned())
    } else {
        Err("this is not an address such as sre@example.com, without a name beside it".into())
    }
}

/// E.164: `+`, then up to 15 digits, the country's first.
///
/// # Errors
/// When it is none.
pub fn phone_number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let fits = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    if fits && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("this is not a number of the form +14155550123 (E.164), with its country and without spaces"
            .into())
    }
}
