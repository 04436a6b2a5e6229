//! What expressions may ask for: the signal, the governor, the source, and the memories of the pack. All numbers are
//! doubles, as JSON has them.

use chrono::{DateTime, Utc};

use crate::event::UnixMillis;
use crate::expression::{Body, Facts, Fault, Names, Reader, Slot, Type, Value};
use crate::receipt::StateName;
use crate::signal::{Assurance, Signal};

/// What a decision is made on, beside the memory.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub signal: &'a Signal,
    /// The journal's time of the event that decides.
    pub now: UnixMillis,
    pub state: StateName,
    pub entitled: bool,
    pub quota_remaining: u32,
    /// The breaker lets one probe pass.
    pub testing: bool,
    /// Failed actions since the last success.
    pub failures: u32,
    /// Rules (`pack/rule`) whose alert is open for this governor. No expression sees it.
    pub open: &'a [Box<str>],
}

/// Names that do not stand in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Id,
    Type,
    Tenant,
    Sku,
    Severity,
    Now,
    State,
    Entitled,
    QuotaRemaining,
    Testing,
    Failures,
    SourceName,
    SourceKey,
    Assurance,
}

const GIVEN: [(&str, Type, Given); 14] = [
    ("signal.id", Type::String, Given::Id),
    ("signal.type", Type::String, Given::Type),
    ("signal.tenant", Type::String, Given::Tenant),
    ("signal.sku", Type::String, Given::Sku),
    ("signal.severity", Type::String, Given::Severity),
    ("governor.now", Type::Timestamp, Given::Now),
    ("governor.state", Type::String, Given::State),
    ("governor.entitled", Type::Bool, Given::Entitled),
    ("governor.quota_remaining", Type::Double, Given::QuotaRemaining),
    ("governor.testing", Type::Bool, Given::Testing),
    ("governor.failures", Type::Double, Given::Failures),
    ("source.name", Type::String, Given::SourceName),
    ("source.key", Type::String, Given::SourceKey),
    ("source.assurance", Type::String, Given::Assurance),
];

/// The sender's own data. `has` of a field of it reads all of it, to see what is there.
pub const DOCUMENT: &str = "signal.data";

/// Where the given names stand.
#[derive(Clone, Debug)]
pub struct Known(Vec<(Slot, Given)>);

/// The names of every pack, before its memories.
pub fn names() -> (Names, Known) {
    let mut names = Names::new();
    let known = GIVEN.map(|(name, of, given)| (names.declare(name, of), given)).to_vec();
    names.field("signal.time", "time", Type::Timestamp);
    names.document(DOCUMENT);
    (names, Known(known))
}

/// Fills the slots that one set of expressions reads.
#[derive(Debug)]
pub struct Filler {
    reader: Reader,
    given: Vec<(Slot, Given)>,
}

impl Filler {
    pub fn new(names: &Names, known: &Known, slots: &[Slot]) -> Self {
        let given = known.0.iter().filter(|(slot, _)| slots.contains(slot)).copied().collect();
        Self { reader: names.reader(slots.iter().copied()), given }
    }

    /// # Errors
    /// The body is no JSON, which only an event in binary mode can be.
    pub fn fill<'a>(&self, question: &Question<'a>, facts: &mut Facts<'a>) -> Result<(), Fault> {
        let signal = question.signal;
        for (slot, given) in &self.given {
            facts.set(*slot, value(*given, question));
        }
        // In binary mode the body is the data alone, and that is the only way to this class.
        let body = match signal.provenance.assurance {
            Assurance::D => Body::Document,
            Assurance::A | Assurance::B | Assurance::C => Body::Signal,
        };
        self.reader.read(signal.body(), body, facts)
    }
}

fn value<'a>(given: Given, question: &Question<'a>) -> Value<'a> {
    let Question { signal, .. } = question;
    let text = |text: &'a str| Value::Text(text.into());
    match given {
        Given::Id => text(signal.id()),
        Given::Type => text(signal.kind()),
        Given::Tenant => text(signal.tenant()),
        Given::Sku => text(signal.sku()),
        Given::Severity => text(signal.severity.as_str()),
        Given::Now => timestamp(question.now),
        Given::State => text(question.state.into_str()),
        Given::Entitled => Value::Bool(question.entitled),
        Given::QuotaRemaining => Value::Double(question.quota_remaining.into()),
        Given::Testing => Value::Bool(question.testing),
        Given::Failures => Value::Double(question.failures.into()),
        Given::SourceName => text(&signal.provenance.source),
        Given::SourceKey => text(&signal.provenance.key),
        Given::Assurance => text(signal.provenance.assurance.as_str()),
    }
}

/// The last millisecond of the year 9999, where timestamps end.
const LAST_MILLIS: u64 = 253_402_300_799_999;

fn timestamp(time: UnixMillis) -> Value<'static> {
    let millis = i64::try_from(time.0.min(LAST_MILLIS)).unwrap_or_default();
    let time: DateTime<Utc> = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    Value::Timestamp(time.fixed_offset())
}
