//! `sms`: text messages by an API of Twilio's form. A message is one segment: a text in the alphabet of GSM, to which other letters
//! are folded where they can be, or one in UCS-2. It ends in the first digits of an alert's id, by which it is found.
//!
//! The API knows no repetition: after a try whose result is not known only a critical message is sent again.

use data_encoding::BASE64;
use hyper::header;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::http::{ChannelCaller, judge, secret_header};
use super::meter::CallMeter;
use super::text::{plain, title};
use crate::alert::{Importance, Notice};
use crate::limits::{SMS_CALL_MIN, SMS_GSM_SEPTETS, SMS_UCS2_UNITS};
use crate::net::caller::CallTarget;
use crate::net::retry::Miss;
use crate::percent;

/// An account of an API of Twilio's form.
#[derive(Clone, Debug)]
pub struct Sms {
    /// `https://api.twilio.com/2010-04-01/Accounts/<sid>/Messages.json`.
    pub to: CallTarget,
    /// The account's sid, or that of an API key.
    pub user: String,
    pub token: SecretString,
    /// A number in E.164, or the sid of a messaging service (`MG…`).
    pub from: String,
    pub recipients: Vec<String>,
}

pub struct SmsChannel {
    caller: ChannelCaller,
    configured: Sms,
}

impl SmsChannel {
    pub fn new(configured: &Sms) -> Self {
        Self { caller: ChannelCaller::new(&configured.to), configured: configured.clone() }
    }

    /// Sends one message. What the service said of it is beside why it said nothing.
    async fn send(
        &self,
        (to, text): (&str, &str),
        meter: &CallMeter,
        until: Instant,
    ) -> Result<Result<(), Miss>, Miss> {
        let token = self.configured.token.expose_secret();
        let login = BASE64.encode(format!("{}:{token}", self.configured.user).as_bytes());
        let headers = vec![(header::AUTHORIZATION, secret_header(&format!("Basic {login}"))?)];
        let body = form(&self.configured.from, to, text).into_bytes();
        meter.message().await?;
        let replied = self.caller.post(None, "application/x-www-form-urlencoded", headers, body, until).await;
        let is_unsent = match &replied {
            Ok(replied) => (400..500).contains(&replied.status),
            Err(miss) => !miss.may_be_taken(),
        };
        if is_unsent {
            meter.unsent().await;
        }
        let replied = replied?;
        let said = serde_json::from_slice::<Value>(&replied.body).unwrap_or_default();
        Ok(judge(&replied, said["message"].as_str().unwrap_or_default(), &[token, &login]))
    }
}

impl Deliver for SmsChannel {
    fn deliver<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        meter: &'a CallMeter,
        until: Instant,
    ) -> Delivering<'a> {
        Box::pin(async move {
            let text = one_segment(&delivery.notice);
            let recipients = self.configured.recipients.iter().filter(|to| !delivery.is_finished(to));
            let recipients: Vec<&String> = recipients.collect();
            let (mut later, mut refused, mut unanswered) = (None, None, 0);
            for (place, to) in recipients.iter().enumerate() {
                let left = until.saturating_duration_since(Instant::now());
                if place > 0 && (left < SMS_CALL_MIN || unanswered == 2) {
                    later.get_or_insert_with(|| Miss::unsent("no time was left for all its numbers"));
                    break;
                }
                // A message that is not answered leaves time for those after it.
                let share = if place + 1 == recipients.len() { left } else { (left / 2).max(SMS_CALL_MIN) };
                match self.send((to, &text), meter, until.min(Instant::now() + share)).await {
                    Ok(Ok(())) => delivery.finish("one"),
                    // One number that is wrong does not keep it from the others.
                    Ok(Err(miss @ Miss::Refused { .. })) | Err(miss @ Miss::Refused { .. }) => {
                        refused = Some(miss);
                    }
                    Err(miss) if miss.may_be_taken() => {
                        delivery.missed(&miss);
                        unanswered += 1;
                        if delivery.notice.importance == Importance::Critical {
                            later = Some(miss);
                            continue;
                        }
                        let why = format!("{}; it may have been sent, and is not sent again", miss.why());
                        refused = Some(Miss::refused(why));
                    }
                    Ok(Err(miss)) | Err(miss) => return Err(miss),
                }
                delivery.pass_over(to);
            }
            match (later, refused.filter(|_| !delivery.is_finished("one"))) {
                (Some(miss), _) | (None, Some(miss)) => Err(miss),
                (None, None) => Ok(Delivered::default()),
            }
        })
    }
}

fn form(from: &str, to: &str, text: &str) -> String {
    let sender = if from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
    format!("To={}&{sender}={}&Body={}", percent::encode(to), percent::encode(from), percent::encode(text))
}

/// The text of a notice, as much of it as one segment has.
fn one_segment(notice: &Notice) -> String {
    let end = match notice.alerts.first() {
        Some(alert) => format!(" #{}", alert.id.to_string().get(..8).unwrap_or_default()),
        None => String::new(),
    };
    let whole = plain(&title(notice));
    let folded: String = whole.chars().map(folded).collect();
    let (text, cost, most): (_, fn(char) -> usize, _) = if folded.chars().all(|char| septets(char).is_some())
    {
        (folded, |char| septets(char).unwrap_or(1), SMS_GSM_SEPTETS)
    } else {
        (whole, char::len_utf16, SMS_UCS2_UNITS)
    };
    let all = |text: &str| text.chars().map(cost).sum::<usize>();
    let room = most - all(&end);
    if all(&text) <= room {
        return text + &end;
    }
    let mut out = String::new();
    let mut used = 2;
    for char in text.chars() {
        used += cost(char);
        if used > room {
            break;
        }
        out.push(char);
    }
    out + ".." + &end
}

/// The alphabet of GSM 03.38, without its escape, and what takes two places.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const GSM_TWO: &str = "^{}\\[~]|€";

fn septets(char: char) -> Option<usize> {
    if GSM.contains(char) { Some(1) } else { GSM_TWO.contains(char).then_some(2) }
}

/// The letter of GSM that stands for another one; what has none stays.
fn folded(char: char) -> char {
    match char {
        '\u{a0}' | '\u{2007}'..='\u{200a}' | '\u{202f}' | '\t' => ' ',
        '‘' | '’' | '‚' | '‹' | '›' | '`' | '´' => '\'',
        '“' | '”' | '„' | '«' | '»' => '"',
        '‐'..='―' | '−' => '-',
        '…' | '·' | '•' => '.',
        '×' => 'x',
        'á' | 'â' | 'ã' | 'ā' | 'ą' => 'a',
        'Á' | 'À' | 'Â' | 'Ã' | 'Ā' | 'Ą' => 'A',
        'ç' | 'ć' | 'č' => 'c',
        'Ć' | 'Č' => 'C',
        'ď' | 'đ' => 'd',
        'Ď' | 'Đ' => 'D',
        'ê' | 'ë' | 'ē' | 'ę' | 'ě' => 'e',
        'È' | 'Ê' | 'Ë' | 'Ē' | 'Ę' | 'Ě' => 'E',
        'í' | 'î' | 'ï' | 'ī' => 'i',
        'Í' | 'Ì' | 'Î' | 'Ï' | 'Ī' => 'I',
        'ł' => 'l',
        'Ł' => 'L',
        'ń' | 'ň' => 'n',
        'Ń' | 'Ň' => 'N',
        'ó' | 'ô' | 'õ' | 'ō' | 'ő' => 'o',
        'Ó' | 'Ò' | 'Ô' | 'Õ' | 'Ō' | 'Ő' => 'O',
        'ř' => 'r',
        'Ř' => 'R',
        'ś' | 'š' | 'ş' => 's',
        'Ś' | 'Š' | 'Ş' => 'S',
        'ť' | 'ț' => 't',
        'Ť' | 'Ț' => 'T',
        'ú' | 'û' | 'ū' | 'ů' | 'ű' => 'u',
        'Ú' | 'Ù' | 'Û' | 'Ū' | 'Ů' | 'Ű' => 'U',
        'ý' | 'ÿ' => 'y',
        'Ý' => 'Y',
        'ź' | 'ż' | 'ž' => 'z',
        'Ź' | 'Ż' | 'Ž' => 'Z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::notice;
    use super::*;

    fn text(summary: &str) -> String {
        let mut notice = notice("disk", 1);
        notice.summary = summary.into();
        one_segment(&notice)
    }

    #[test]
    fn a_text_is_one_segment_in_its_alphabet() {
        let septets = |text: &str| text.chars().map(|char| septets(char).unwrap()).sum::<usize>();
        for char in ["x", "é", "[", "“", "ć", "–", "\n"] {
            for count in [1, 100, 140, 141, 142, 143, 200, 5000] {
                let text = text(&char.repeat(count));
                assert!(septets(&text) <= SMS_GSM_SEPTETS, "{char:?} {count}: {}", septets(&text));
                assert!(text.contains(" #"), "{text}");
            }
        }
        for char in ["д", "字", "\u{1f525}"] {
            for count in [1, 40, 49, 50, 51, 5000] {
                let text = text(&char.repeat(count));
                assert!(text.encode_utf16().count() <= SMS_UCS2_UNITS, "{char} {count}: {text}");
                assert!(text.contains(" #"), "{text}");
            }
        }
        assert_eq!(septets(&text(&"x".repeat(5000))), SMS_GSM_SEPTETS, "a segment is used in full");
    }

    #[test]
    fn letters_are_folded_and_those_of_gsm_stay() {
        assert_eq!(GSM.chars().count(), 127, "128 with the escape");
        let text = text("l’état – “Gdańsk” façade {ü}");
        assert!(text.starts_with("Critical: l'état - \"Gdansk\" facade {ü} #"), "{text}");
        for char in GSM.chars() {
            assert_eq!(folded(char), char);
        }
        assert!(text.len() < 100);
    }

    #[test]
    fn a_form_is_encoded() {
        let form = form("+15005550006", "+491701234567", "a&b=c d+é");
        assert_eq!(form, "To=%2B491701234567&From=%2B15005550006&Body=a%26b%3Dc%20d%2B%C3%A9");
        assert!(super::form("MG123", "+1", "x").contains("&MessagingServiceSid=MG123&"));
    }
}
