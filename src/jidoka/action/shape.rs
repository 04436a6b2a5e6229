//! A webhook that expressions shape. They see the signal, as rules do, and the action; the same order gives the same message,
//! whichever try it is. What cannot be made is found before the target is asked: such an action fails, its target is not
//! blamed, and no probe of a halted one is spent on it.

use hyper::header::{HeaderName, HeaderValue};

use crate::expression::{Body, Expression, Facts, Names, Reader, Slot, Steps, Type, Value, Wrong};
use crate::jidoka::governor::ActionRequest;
use crate::jidoka::policy::DOCUMENT;
use crate::limits::{SHAPED_BYTES_MAX, SHAPED_VALUE_BYTES_MAX};
use crate::signal::{self, Assurance};

/// Names that do not stand in the signal's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    SignalId,
    Type,
    Tenant,
    Sku,
    Severity,
    ActionId,
    Action,
    Rule,
    Pack,
    Reason,
    Seq,
}

const GIVEN: [(&str, Type, Given); 14] = [
    ("signal.id", Type::String, Given::SignalId),
    ("signal.type", Type::String, Given::Type),
    ("signal.tenant", Type::String, Given::Tenant),
    ("signal.sku", Type::String, Given::Sku),
    ("signal.severity", Type::String, Given::Severity),
    ("action.id", Type::String, Given::ActionId),
    ("action.name", Type::String, Given::Action),
    ("action.tenant", Type::String, Given::Tenant),
    ("action.sku", Type::String, Given::Sku),
    ("action.rule", Type::String, Given::Rule),
    ("action.pack", Type::String, Given::Pack),
    ("action.reason", Type::String, Given::Reason),
    ("action.signal_id", Type::String, Given::SignalId),
    ("action.seq", Type::Int, Given::Seq),
];

/// Compiles the expressions of one webhook.
#[derive(Debug)]
pub struct ShapeCompiler {
    names: Names,
    given: Vec<(Slot, Given)>,
    body: Option<Expression>,
    content_type: Option<HeaderValue>,
    headers: Vec<(HeaderName, Expression)>,
}

/// What a webhook's message is made by.
#[derive(Debug)]
pub struct WebhookShape {
    reader: Reader,
    /// Something of the signal's data.
    reads_data: bool,
    given: Vec<(Slot, Given)>,
    body: Option<Expression>,
    content_type: Option<HeaderValue>,
    headers: Vec<(HeaderName, Expression)>,
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Shaped {
    /// And its type; `None`: as if nothing shaped it.
    pub content: Option<(Vec<u8>, HeaderValue)>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Default for ShapeCompiler {
    fn default() -> Self {
        let mut names = Names::new();
        let given = GIVEN.map(|(name, of, given)| (names.declare(name, of), given)).to_vec();
        names.field("signal.time", "time", Type::Timestamp);
        names.document(DOCUMENT);
        Self { names, given, body: None, content_type: None, headers: Vec::new() }
    }
}

impl ShapeCompiler {
    /// What is sent: a string as it is, a list or a map as JSON.
    ///
    /// # Errors
    /// [`Wrong`], with line and column.
    pub fn body(&mut self, text: &str, content_type: Option<HeaderValue>) -> Result<(), Wrong> {
        self.body = Some(Expression::compile(text, &mut self.names, Type::Content)?);
        self.content_type = content_type;
        Ok(())
    }

    /// One header's value.
    ///
    /// # Errors
    /// [`Wrong`], with line and column.
    pub fn header(&mut self, name: HeaderName, text: &str) -> Result<(), Wrong> {
        self.headers.push((name, Expression::compile(text, &mut self.names, Type::String)?));
        Ok(())
    }

    #[must_use]
    pub fn finish(self) -> WebhookShape {
        let Self { names, mut given, body, content_type, headers } = self;
        let expressions = body.iter().chain(headers.iter().map(|(_, value)| value));
        let slots: Vec<Slot> = expressions.flat_map(Expression::slots).copied().collect();
        given.retain(|(slot, _)| slots.contains(slot));
        let reads_data = slots.iter().any(|slot| names.path(*slot).starts_with(DOCUMENT));
        WebhookShape { reader: names.reader(slots), reads_data, given, body, content_type, headers }
    }
}

impl WebhookShape {
    /// The message about an order. All its expressions together may cost what those of one decision may.
    ///
    /// # Errors
    /// Why there is none, without anything that the signal says.
    pub fn make(&self, order: &ActionRequest) -> Result<Shaped, String> {
        let signal = &order.intent.signal;
        let mut facts = Facts::new();
        let action = order.intent.action.to_string();
        for (slot, given) in &self.given {
            facts.set(*slot, value(*given, order, &action));
        }
        // In binary mode the body is the data alone, and may be anything.
        let is = match signal.provenance.assurance {
            Assurance::D => Body::Document,
            Assurance::A | Assurance::B | Assurance::C => Body::Signal,
        };
        // Parts of it go out as they are.
        if is == Body::Document && self.reads_data && !signal::is_strict(signal.body()) {
            return Err("the signal's data is not JSON".into());
        }
        self.reader.read(signal.body(), is, &mut facts).map_err(|fault| fault.to_string())?;
        let mut steps = Steps::default();
        let body = self.body.as_ref().map(|body| content(body, &facts, &mut steps));
        let body = body.transpose().map_err(|why| format!("`body`: {why}"))?;
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, expression) in &self.headers {
            let value = header(expression, &facts, &mut steps);
            headers.push((name.clone(), value.map_err(|why| format!("`headers.{name}`: {why}"))?));
        }
        let json = || HeaderValue::from_static("application/json");
        let content = body.map(|body| (body, self.content_type.clone().unwrap_or_else(json)));
        Ok(Shaped { content, headers })
    }
}

fn content(body: &Expression, facts: &Facts<'_>, steps: &mut Steps) -> Result<Vec<u8>, String> {
    let value = body.run(facts, steps).map_err(|fault| fault.to_string())?;
    let content = match value {
        Value::Text(text) => text.into_owned().into_bytes(),
        value @ (Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::List(_)
        | Value::Map(_)) => value.to_json(SHAPED_BYTES_MAX).map_err(|why| why.to_string())?,
    };
    if content.len() > SHAPED_BYTES_MAX {
        return Err(format!("it has more than {SHAPED_BYTES_MAX} bytes"));
    }
    Ok(content)
}

/// Nothing that could end the header, or begin another one.
fn header(expression: &Expression, facts: &Facts<'_>, steps: &mut Steps) -> Result<HeaderValue, String> {
    let value = expression.run(facts, steps).map_err(|fault| fault.to_string())?;
    let Value::Text(text) = value else { return Err("it is no string".into()) };
    if text.len() > SHAPED_VALUE_BYTES_MAX {
        return Err(format!("it has more than {SHAPED_VALUE_BYTES_MAX} bytes"));
    }
    if text.contains(char::is_control) {
        return Err("it has control characters".into());
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| "no header can have it".into())
}

fn value<'a>(given: Given, order: &'a ActionRequest, action: &'a str) -> Value<'a> {
    let (intent, signal) = (&order.intent, &order.intent.signal);
    let text = |text: &'a str| Value::Text(text.into());
    match given {
        Given::SignalId => text(signal.id()),
        Given::Type => text(signal.kind()),
        Given::Tenant => text(signal.tenant()),
        Given::Sku => text(signal.sku()),
        Given::Severity => text(signal.severity.as_str()),
        Given::ActionId => text(action),
        Given::Action => text(&intent.name),
        Given::Rule => text(&intent.policy.rule),
        Given::Pack => text(&intent.policy.pack),
        Given::Reason => text(&intent.reason),
        Given::Seq => Value::Int(i64::try_from(intent.accepted.0).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::payload::tests::{SIGNAL, order};
    use super::*;
    use crate::signal::{Provenance, Text, Unchecked};

    fn shape(body: Option<&str>, headers: &[(&'static str, &str)]) -> Result<WebhookShape, Wrong> {
        let mut compiler = ShapeCompiler::default();
        if let Some(body) = body {
            compiler.body(body, None)?;
        }
        for (name, text) in headers {
            compiler.header(HeaderName::from_static(name), text)?;
        }
        Ok(compiler.finish())
    }

    /// What goes out for this signal.
    fn content(body: &str, signal: &str) -> Result<String, String> {
        let shaped = shape(Some(body), &[]).unwrap().make(&order("page", 42, signal))?;
        let (content, of) = shaped.content.unwrap();
        assert_eq!(of, "application/json");
        Ok(String::from_utf8(content).unwrap())
    }

    fn header_of(expression: &str, signal: &str) -> Result<Vec<u8>, String> {
        let shaped = shape(None, &[("x-team", expression)]).unwrap().make(&order("page", 42, signal))?;
        assert_eq!(shaped.content, None);
        Ok(shaped.headers[0].1.as_bytes().to_vec())
    }

    #[test]
    fn a_message_is_made_of_the_signal_and_the_action() {
        let table = [
            ("'plain ' + action.tenant + '/' + action.sku", "plain acme/vm"),
            ("''", ""),
            (
                "{'id': action.id, 'name': action.name, 'rule': action.pack + '/' + action.rule, 'seq': action.seq}",
                r#"{"id":"a-000000000000002a","name":"page","rule":"cost/spend","seq":42}"#,
            ),
            ("[action.reason, action.signal_id]", r#"["spend is \"high\"","s-1"]"#),
            (
                "[signal.id, signal.type, signal.tenant, signal.sku, signal.severity]",
                r#"["s-1","cost.usage","acme","vm","info"]"#,
            ),
            // A document goes as it was signed, a number of it as a number.
            ("{'data': signal.data, 'n': signal.data.n}", r#"{"data":{"n":1.50e1},"n":15}"#),
            ("{'team': has(signal.data.team) ? signal.data.team : 'nobody'}", r#"{"team":"nobody"}"#),
        ];
        for (body, expected) in table {
            assert_eq!(content(body, SIGNAL).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn in_binary_mode_the_body_is_the_data() {
        let binary = |body: &'static [u8]| {
            let mut order = order("page", 42, SIGNAL);
            let own = |text: &str| Text::Owned(text.into());
            let signal = Unchecked {
                body: Bytes::from_static(body),
                id: own("s"),
                tenant: own("acme"),
                sku: own("vm"),
                kind: own("cost.usage"),
                provenance: Provenance::intern("signals", "default", Assurance::D).unwrap(),
                ..order.intent.signal.clone().into()
            };
            order.intent.signal = signal.check().unwrap();
            order
        };
        let data = shape(Some("{'d': signal.data, 'id': signal.id}"), &[]).unwrap();
        let made = |body| data.make(&binary(body)).map(|shaped| shaped.content.unwrap().0);
        assert_eq!(made(b"{\"n\": 1}"), Ok(b"{\"d\":{\"n\": 1},\"id\":\"s\"}".to_vec()));
        for broken in [&b"{\"n\": 1"[..], b"\xff", b"{\"n\":01}", b"{\"a\":1,\"a\":2}", b""] {
            assert_eq!(made(broken), Err("the signal's data is not JSON".into()), "{broken:?}");
        }
        let names = shape(None, &[("x-id", "signal.id")]).unwrap();
        assert_eq!(names.make(&binary(b"\xff")).unwrap().headers[0].1, "s");
    }

    #[test]
    fn every_try_of_an_order_has_the_same_message() {
        let shape =
            shape(Some("{'a': action.id, 'd': signal.data}"), &[("x-team", "signal.tenant")]).unwrap();
        let mut order = order("page", 42, SIGNAL);
        let first = shape.make(&order).unwrap();
        order.maybe_twice = true;
        assert_eq!(shape.make(&order).unwrap(), first);
    }

    #[test]
    fn what_no_run_could_make_is_refused_at_the_start() {
        let wrong = |body: &str| shape(Some(body), &[]).map(drop).unwrap_err().to_string();
        assert_eq!(wrong("1.5"), "1:1: the result is a double, wanted is a string, list or map");
        assert!(wrong("true").contains("wanted"), "{}", wrong("true"));
        assert!(wrong("action.seq").contains("wanted"), "{}", wrong("action.seq"));
        assert!(wrong("action.secret").starts_with("1:1"), "{}", wrong("action.secret"));
        assert!(wrong("governor.state").starts_with("1:1"), "{}", wrong("governor.state"));
        assert!(wrong("{'a': }").starts_with("1:"), "{}", wrong("{'a': }"));
        let header = |text| shape(None, &[("x-team", text)]).map(drop).unwrap_err().to_string();
        assert!(header("{'a': 1}").contains("wanted is a string"), "{}", header("{'a': 1}"));
        assert!(header("action.seq").contains("wanted is a string"), "{}", header("action.seq"));
    }

    #[test]
    fn what_cannot_be_made_says_why_and_tells_nothing_of_the_signal() {
        let secret = SIGNAL.replace("1.50e1", "\"geheim\"");
        let why = |body: &str| content(body, &secret).unwrap_err();
        assert_eq!(why("{'a': signal.data.team}"), "`body`: `signal.data.team` is not there");
        assert_eq!(why("{'a': signal.data.n + 1.0}"), "`body`: `signal.data.n`: a string does not go here");
        let why = content("signal.data.n", SIGNAL).unwrap_err();
        assert_eq!(why, "`body`: `the result`: a double does not go here");
    }

    #[test]
    fn a_message_is_bounded_to_the_byte() {
        let signal = |bytes: usize| SIGNAL.replace("1.50e1", &format!("\"{}\"", "x".repeat(bytes)));
        // Twice the text, two quotes each, brackets and a comma.
        let bytes = (SHAPED_BYTES_MAX - 7) / 2;
        let made = content("[signal.data.n, signal.data.n]", &signal(bytes)).unwrap();
        assert!(made.len() <= SHAPED_BYTES_MAX && made.len() > SHAPED_BYTES_MAX - 2, "{}", made.len());
        let beyond = content("[signal.data.n, signal.data.n]", &signal(bytes + 1));
        assert_eq!(beyond, Err("`body`: it is too long".into()));
        let steps = content("signal.data.n + signal.data.n + signal.data.n", &signal(bytes));
        assert_eq!(steps, Err("`body`: the evaluation takes too many steps".into()));
    }

    proptest! {
        /// Whatever a sender writes, the message says it, and says nothing else.
        #[test]
        fn any_text_of_a_sender_stays_a_text(text in ".{0,40}|[\\x00-\\x7f]{0,40}") {
            let signal = SIGNAL.replace("1.50e1", &serde_json::Value::from(text.as_str()).to_string());
            let made = content("{'a': signal.data.n, 'b': [signal.data, action.id]}", &signal).unwrap();
            let value: serde_json::Value = serde_json::from_str(&made).unwrap();
            let expected = serde_json::json!({"a": text, "b": [{"n": text}, "a-000000000000002a"]});
            prop_assert_eq!(value, expected);
            let header = header_of("'x' + signal.data.n", &signal);
            let is_line = !text.contains(char::is_control);
            prop_assert_eq!(header.ok(), is_line.then(|| format!("x{text}").into_bytes()));
        }
    }

    #[test]
    fn a_header_has_no_control_characters_and_is_bounded() {
        let signal = |text: &str| SIGNAL.replace("1.50e1", &serde_json::Value::from(text).to_string());
        for good in ["", "a", "a b", "Zürich", "\u{1F600}", "a:b, c=\"d\""] {
            assert_eq!(header_of("signal.data.n", &signal(good)), Ok(good.as_bytes().to_vec()));
        }
        let controls = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32);
        for control in controls {
            for text in [format!("a{control}b"), format!("{control}"), format!("a{control}\nx-admin: 1")] {
                let why = header_of("signal.data.n", &signal(&text)).unwrap_err();
                assert_eq!(why, "`headers.x-team`: it has control characters", "{text:?}");
            }
        }
        let long = |bytes| header_of("signal.data.n", &signal(&"x".repeat(bytes)));
        assert!(long(SHAPED_VALUE_BYTES_MAX).is_ok());
        let bound = format!("`headers.x-team`: it has more than {SHAPED_VALUE_BYTES_MAX} bytes");
        assert_eq!(long(SHAPED_VALUE_BYTES_MAX + 1), Err(bound));
        let why = header_of("signal.data.n", SIGNAL).unwrap_err();
        assert_eq!(why, "`headers.x-team`: `the result`: a double does not go here");
    }
}
