//! `email`: one mail to all recipients of a channel. Mails of one group are a thread. Each has an id of its own, made from its
//! notice's id. All refer to a root id, which is made from the group, and which no mail has.
//!
//! A recipient whom the server refuses does not keep the mail from the others; one for whom it has no room now is served later.

use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use tokio::time::{Instant, timeout_at};

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::meter::CallMeter;
use super::text::{cut, key, line, link, plain, time, title, unlisted};
use crate::alert::Notice;
use crate::limits::MAIL_SUBJECT_CHARS;
use crate::net::retry::Miss;
use crate::net::smtp::{SmtpServer, Submission, submit};

/// Who gets mails, from whom, and by which server.
#[derive(Clone, Debug)]
pub struct Email {
    pub server: SmtpServer,
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
}

/// The text is no address of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMailAddress {
    #[error("not an address of the form `name@example.com` or `Name <name@example.com>`")]
    Malformed,
    #[error("the address has letters beyond ASCII, which not every mail server takes")]
    NotAscii,
}

/// An address, with or without a name.
///
/// # Errors
/// [`NotMailAddress`].
pub fn mail_address(text: &str) -> Result<Mailbox, NotMailAddress> {
    if text.chars().any(char::is_control) {
        return Err(NotMailAddress::Malformed);
    }
    let mailbox: Mailbox = text.parse().map_err(|_| NotMailAddress::Malformed)?;
    let address: &str = mailbox.email.as_ref();
    if !address.is_ascii() {
        return Err(NotMailAddress::NotAscii);
    }
    // What could end the path that it stands in.
    if address.bytes().any(|byte| matches!(byte, b'<' | b'>' | b' ')) {
        return Err(NotMailAddress::Malformed);
    }
    Ok(mailbox)
}

pub struct EmailChannel {
    configured: Email,
    board: Option<Box<str>>,
}

impl EmailChannel {
    pub fn new(configured: &Email, board: Option<Box<str>>) -> Self {
        Self { configured: configured.clone(), board }
    }
}

/// It is known for some recipient that he has it.
const ONE: &str = "one has it";

impl Deliver for EmailChannel {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, _: &'a CallMeter, until: Instant) -> Delivering<'a> {
        Box::pin(async move {
            let Email { server, from, to } = &self.configured;
            let message = mail(&delivery.notice, from, to, self.board.as_deref())?;
            let to: Vec<&str> = to.iter().map(|mailbox| mailbox.email.as_ref()).collect();
            let to: Vec<&str> = to.into_iter().filter(|to| !delivery.is_finished(to)).collect();
            let submission = Submission {
                from: from.email.as_ref(),
                to: &to,
                message: &message,
                own_name: from.email.domain(),
            };
            let submitted = timeout_at(until, submit(server, submission, until)).await;
            let said =
                submitted.unwrap_or_else(|_| Err(Miss::again("the mail server gave no answer in time")))?;
            let (mut later, mut refused) = (None, None);
            for (recipient, said) in to.iter().zip(said) {
                match said {
                    Ok(()) => delivery.finish(ONE),
                    Err(miss @ Miss::Again { .. }) => {
                        later = Some(miss);
                        continue;
                    }
                    Err(miss) => refused = Some(miss),
                }
                delivery.pass_over(recipient);
            }
            match (later, refused) {
                (Some(miss), _) => Err(miss),
                (None, Some(miss)) if !delivery.is_finished(ONE) => Err(miss),
                (None, refused) => {
                    if let Some(miss) = refused {
                        let reason = miss.why();
                        tracing::warn!(target: "gemba::andon", reason, "a mail was refused for one of its recipients");
                    }
                    Ok(Delivered::default())
                }
            }
        })
    }
}

/// Header fields and body.
fn mail(notice: &Notice, from: &Mailbox, to: &[Mailbox], board: Option<&str>) -> Result<Vec<u8>, Miss> {
    let domain = from.email.domain();
    let id = |text: &str| {
        // A channel's name may have any letters.
        let text: String = text
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' })
            .collect();
        format!("<{text}@{domain}>")
    };
    let root = id(&format!("g-{}", key(&notice.id)));
    let automatic = HeaderName::new_from_ascii("Auto-Submitted".into());
    let automatic = automatic.map_err(|_| Miss::refused("no mail can be made of it"))?;
    let mut mail = lettre::Message::builder()
        .from(from.clone())
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(notice.time.0))
        .message_id(Some(id(&notice.id.to_string())))
        .in_reply_to(root.clone())
        .references(root)
        .subject(cut(&title(notice), MAIL_SUBJECT_CHARS))
        .raw_header(HeaderValue::new(automatic, "auto-generated".into()));
    for recipient in to {
        mail = mail.to(recipient.clone());
    }
    let parts = MultiPart::alternative_plain_html(text(notice, board), html(notice, board));
    let mail = mail.multipart(parts).map_err(|_| Miss::refused("no mail can be made of it"))?;
    Ok(mail.formatted())
}

/// Lines before and after the alerts.
fn around(notice: &Notice) -> (Vec<String>, Vec<String>) {
    let mut before = vec![title(notice)];
    if let Some((by, reason)) = &notice.acknowledged {
        before.push(format!("Acknowledged by {}: {}", plain(by), plain(reason)));
    }
    before.push(format!("{} firing, {} resolved", notice.firing, notice.resolved));
    let mut after = Vec::new();
    let more = unlisted(notice, notice.alerts.len());
    if more > 0 {
        after.push(format!("and {more} more"));
    }
    after.push(format!("{} at {}", plain(&notice.node), time(notice.time)));
    if notice.maybe_twice {
        after.push("The node restarted: this may have been sent before.".into());
    }
    (before, after)
}

fn text(notice: &Notice, board: Option<&str>) -> String {
    let (before, after) = around(notice);
    let mut text = before.join("\n") + "\n\n";
    for alert in &notice.alerts {
        text.push_str(&format!("- {}\n", line(alert)));
        if let Some(link) = link(board, alert.id) {
            text.push_str(&format!("  {link}\n"));
        }
        text.push_str(&format!("  receipt {}\n", plain(&alert.receipt)));
    }
    text + "\n" + &after.join("\n") + "\n"
}

fn html(notice: &Notice, board: Option<&str>) -> String {
    let paragraph = |line: &String| format!("<p>{}</p>\n", escaped(line));
    let (before, after) = around(notice);
    let mut html = String::from("<!doctype html>\n<html><body>\n");
    html.extend(before.iter().map(paragraph));
    html.push_str("<ul>\n");
    for alert in &notice.alerts {
        let line = escaped(&line(alert));
        let receipt = escaped(&plain(&alert.receipt));
        match link(board, alert.id) {
            Some(link) => html.push_str(&format!("<li><a href=\"{}\">{line}</a>", escaped(&link))),
            None => html.push_str(&format!("<li>{line}")),
        }
        html.push_str(&format!("<br>receipt {receipt}</li>\n"));
    }
    html.push_str("</ul>\n");
    html.extend(after.iter().map(paragraph));
    html + "</body></html>\n"
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::notice;
    use super::*;

    fn written(notice: &Notice) -> String {
        let from = mail_address("Gemba <gemba@example.com>").unwrap();
        let to = ["sre@example.com", "ops@example.com"].map(|to| mail_address(to).unwrap());
        String::from_utf8(mail(notice, &from, &to, Some("https://gemba.example.com")).unwrap()).unwrap()
    }

    #[test]
    fn no_text_of_a_signal_makes_a_header() {
        for evil in
            ["x\r\nBcc: eve@example.com", "x\nBcc: eve@example.com", "x\r\n\r\n<b>", "x\u{85}Bcc: e", "\0"]
        {
            let mut notice = notice("disk", 1);
            notice.summary = format!("{evil}{}", "y".repeat(500)).into();
            notice.id.channel = evil.into();
            notice.node = evil.into();
            notice.acknowledged = Some((evil.into(), evil.into()));
            notice.alerts[0].message = evil.into();
            let mail = written(&notice);
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            let mut names = Vec::new();
            for line in head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])) {
                names.push(line.split_once(':').unwrap().0.to_owned());
            }
            names.sort();
            let expected = [
                "Auto-Submitted",
                "Content-Type",
                "Date",
                "From",
                "In-Reply-To",
                "MIME-Version",
                "Message-ID",
                "References",
                "Subject",
                "To",
            ];
            assert_eq!(names, expected, "{evil:?}: {head}");
            assert!(!mail.replace("\r\n", "").contains(['\r', '\n', '\0']), "{evil:?}");
            assert!(mail.split("\r\n").all(|line| line.len() <= 998));
        }
    }

    #[test]
    fn mails_of_a_group_are_a_thread_and_each_has_its_own_id() {
        let of = |notice: &Notice| {
            let mail = written(notice);
            let field = |name: &str| {
                let line = mail.split("\r\n").find(|line| line.starts_with(name)).unwrap();
                line.to_owned()
            };
            (field("Message-ID: "), field("References: "), field("In-Reply-To: "))
        };
        let first = notice("disk", 1);
        let mut second = first.clone();
        second.id.step += 1;
        let mut again = first.clone();
        again.id.since += 1;
        let (first, second, again) = (of(&first), of(&second), of(&again));
        assert_ne!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(first.1, again.1);
        assert_eq!(first.1.trim_start_matches("References: "), first.2.trim_start_matches("In-Reply-To: "));
        assert!(first.0.ends_with("@example.com>"), "{}", first.0);
    }

    #[test]
    fn only_addresses_are_addresses() {
        assert!(mail_address("Name <a@example.com>").is_ok());
        for wrong in ["", "a", "a@", "@b", "a@b\r\nX: y", "a@b.example> RCPT TO:<c@d", "a b@c"] {
            assert_eq!(mail_address(wrong), Err(NotMailAddress::Malformed), "{wrong}");
        }
        assert_eq!(mail_address("ä@example.com"), Err(NotMailAddress::NotAscii));
    }

    #[test]
    fn html_shows_texts_as_they_are() {
        let mut notice = notice("disk", 1);
        notice.alerts[0].message = "<script>alert('x')</script>&\"".into();
        let html = html(&notice, Some("https://gemba.example.com/\"><b>"));
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    }
}
