//! Orders that need two persons: each waits, unchanged, until somebody else who may order it approves. Nothing of it is durable
//! before: a request that lapses, is refused, or is lost with the process, was no act. What an order reads is taken down when it is
//! given, so that what is approved is what was ordered. One that is approved is taken out when it has been carried out, and not before.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::operations::{Asked, Failed, Operation};
use super::terms::{OperatorCommand, Refused, Resolved, Said};
use super::token::{Role, Token, Tokens};
use crate::limits::{REQUEST_REASON_BYTES_MAX, REQUEST_SECONDS, REQUESTS_MAX, REQUESTS_OF_ONE};

/// An order that is to wait, read and checked.
pub struct GivenOrder {
    pub command: OperatorCommand,
    /// What it comes to.
    pub resolved: Resolved,
    pub said: Said,
}

/// An order that waits.
struct Waiting {
    ordered: GivenOrder,
    /// Whose token ordered it.
    person: Box<str>,
    /// What is needed to order it.
    role: Role,
    /// The words of its command.
    words: &'static str,
    /// The request in one line.
    told: Box<str>,
    since: Instant,
    /// It is approved, and being carried out.
    is_under_way: bool,
    /// Why it was not carried out when it was approved last.
    refused: Option<Box<str>>,
}

/// As operators see it.
#[derive(Serialize)]
pub struct RequestView {
    pub id: String,
    /// The words of the command that orders it.
    pub command: &'static str,
    /// All of the request in one line: method, path, query, what stands in the body beside the reason, and `If-Match`.
    pub request: Box<str>,
    /// What it comes to: how many cases and which, what files say, whose alert, which halt. It is carried out on that alone.
    pub concerns: Box<str>,
    pub who: Box<str>,
    pub reason: Box<str>,
    /// Who approves it has this role, or a higher one.
    pub role: &'static str,
    /// Seconds until it lapses.
    pub lapses_in_seconds: u64,
    /// It is approved, and being carried out.
    pub under_way: bool,
    /// Why it was not carried out when it was approved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<str>>,
}

/// All that wait.
pub struct Requests {
    /// Of this run of the node, in 32 bits: an id of an earlier one names nothing.
    run: u64,
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

/// An order that is approved.
pub struct Approved {
    pub number: u64,
    pub ordered: GivenOrder,
    /// As it waited.
    pub view: RequestView,
}

const NO_REQUEST: &str = "no order waits under this id: it was carried out, refused, or has lapsed";
const UNDER_WAY: &str = "it was approved, and is being carried out";

impl Requests {
    /// `random` is another number at each start.
    #[must_use]
    pub fn new(random: u64) -> Self {
        Self { run: random >> 32, waiting: BTreeMap::new(), last: 0 }
    }

    /// Keeps an order of `first` until somebody else approves it; what is answered.
    pub fn add(
        &mut self,
        (operation, asked): (&'static Operation, &Asked),
        ordered: GivenOrder,
        first: &Token,
    ) -> Result<Vec<u8>, Failed> {
        quoted(&ordered.said.reason)?;
        let now = Instant::now();
        self.forget(now);
        let own = self.waiting.values().filter(|waiting| waiting.person == first.person).count();
        if self.waiting.len() >= REQUESTS_MAX || own >= REQUESTS_OF_ONE {
            return Err(Failed::Refused(Refused::Conflict(format!(
                "{} orders wait for a second person, {own} of them yours: refuse some first",
                self.waiting.len()
            ))));
        }
        self.last += 1;
        let waiting = Waiting {
            ordered,
            person: first.person.clone(),
            role: operation.need.role(),
            words: operation.command.unwrap_or_default(),
            told: operation.told(asked).into(),
            since: now,
            is_under_way: false,
            refused: None,
        };
        let what = format!(
            "it needs a second person: somebody else with the role {} approves it by `gemba request approve`",
            waiting.role.into_str()
        );
        let view = view(self.name(self.last), &waiting, now);
        self.waiting.insert(self.last, waiting);
        serde_json::to_vec(&json!({"status": "waits", "detail": what, "request": view}))
            .map_err(|_| Failed::Refused(Refused::Unavailable))
    }

    /// Those that wait, the oldest first.
    pub fn list(&mut self) -> Vec<RequestView> {
        let now = Instant::now();
        self.forget(now);
        self.waiting.iter().map(|(number, waiting)| view(self.name(*number), waiting, now)).collect()
    }

    /// What is to be carried out now, as ordered by the one and approved by `second`. It waits on, under way, until it is told to have
    /// [ended](Self::end).
    pub fn approve(
        &mut self,
        id: &str,
        (tokens, second): (&Tokens, &Token),
        said: &Said,
    ) -> Result<Approved, Failed> {
        let (number, waiting) = self.find(id)?;
        let conflict = |what: String| Failed::Refused(Refused::Conflict(what));
        let Said { actor: first, reason } = &waiting.ordered.said;
        let now = tokens.named(first).filter(|token| token.role >= waiting.role);
        if waiting.is_of(tokens, second) {
            return Err(conflict("you ordered it: somebody else has to approve".into()));
        }
        if second.role < waiting.role {
            let needed = waiting.role.into_str();
            return Err(conflict(format!("the role {needed} is needed to approve it")));
        }
        if now.is_none() {
            return Err(conflict(format!("`{first}` may not order it any more: refuse it")));
        }
        if waiting.is_under_way {
            return Err(conflict(UNDER_WAY.into()));
        }
        let both = format!("{first} and {}", &*second.name);
        // Neither can imitate the other: each is a JSON string.
        let reason = format!("ordered: {}; approved: {}", quoted(reason)?, quoted(&said.reason)?);
        let said = Said { actor: both.into(), reason: reason.into() };
        let GivenOrder { command, resolved, .. } = &waiting.ordered;
        let ordered = GivenOrder { command: command.clone(), resolved: resolved.clone(), said };
        let view = view(id.to_owned(), waiting, Instant::now());
        waiting.is_under_way = true;
        Ok(Approved { number, ordered, view })
    }

    /// Takes an order out that was carried out; one that was not waits on, and says why.
    pub fn end(&mut self, id: u64, failed: Option<String>) {
        match (failed, self.waiting.get_mut(&id)) {
            (Some(why), Some(waiting)) => {
                waiting.is_under_way = false;
                waiting.refused = Some(why.into());
            }
            (None, _) => drop(self.waiting.remove(&id)),
            (Some(_), None) => {}
        }
    }

    /// Forgets an order that is not to be carried out, as who ordered it wants, or somebody who may order it.
    pub fn refuse(&mut self, id: &str, (tokens, by): (&Tokens, &Token)) -> Result<(), Refused> {
        let (number, waiting) = self.find(id)?;
        if by.role < waiting.role && !waiting.is_of(tokens, by) {
            let needed = waiting.role.into_str();
            return Err(Refused::Conflict(format!(
                "the role {needed} is needed to refuse an order of others"
            )));
        }
        if waiting.is_under_way {
            return Err(Refused::Conflict(UNDER_WAY.into()));
        }
        self.waiting.remove(&number);
        Ok(())
    }

    fn name(&self, number: u64) -> String {
        format!("q-{:08x}-{number}", self.run)
    }

    fn find(&mut self, id: &str) -> Result<(u64, &mut Waiting), Refused> {
        self.forget(Instant::now());
        let number = id.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
        // Each has one name.
        let number = number.filter(|number| self.name(*number) == id).ok_or(Refused::Missing(NO_REQUEST))?;
        Ok((number, self.waiting.get_mut(&number).ok_or(Refused::Missing(NO_REQUEST))?))
    }

    fn forget(&mut self, now: Instant) {
        let lives =
            |waiting: &Waiting| waiting.is_under_way || now.saturating_duration_since(waiting.since) < LIFE;
        self.waiting.retain(|_, waiting| lives(waiting));
    }
}

impl Waiting {
    /// Whether this person ordered it. Whose the token is may be told otherwise by now.
    fn is_of(&self, tokens: &Tokens, token: &Token) -> bool {
        let now = tokens.named(&self.ordered.said.actor);
        self.person == token.person || now.is_some_and(|now| now.person == token.person)
    }
}

const LIFE: Duration = Duration::from_secs(REQUEST_SECONDS as u64);

/// A reason of an order of two persons, as it stands beside the other one.
fn quoted(reason: &str) -> Result<String, Failed> {
    let quoted = serde_json::Value::from(reason).to_string();
    if quoted.len() > REQUEST_REASON_BYTES_MAX {
        return Err(Failed::Wrong(format!(
            "the reason of an order that needs two persons has at most {REQUEST_REASON_BYTES_MAX} bytes as a JSON string: both stand on one receipt"
        )));
    }
    Ok(quoted)
}

fn view(id: String, waiting: &Waiting, now: Instant) -> RequestView {
    let Waiting { ordered, role, words, told, since, is_under_way, refused, .. } = waiting;
    let GivenOrder { resolved, said, .. } = ordered;
    RequestView {
        id,
        command: words,
        request: told.clone(),
        concerns: resolved.concerns.clone(),
        who: (*said.actor).into(),
        reason: (*said.reason).into(),
        role: role.into_str(),
        lapses_in_seconds: LIFE.saturating_sub(now.saturating_duration_since(*since)).as_secs(),
        under_way: *is_under_way,
        refused: refused.clone(),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::super::operations::find;
    use super::super::token::Role;
    use super::*;

    fn token(name: &str, role: Role) -> Token {
        Token::new(name, role, name.as_bytes())
    }

    fn said(by: &str, reason: &str) -> Said {
        Said { actor: by.into(), reason: reason.into() }
    }

    fn resolved(concerns: &str) -> Resolved {
        Resolved { concerns: concerns.into(), digest: [0; 32], changes_nothing: false }
    }

    fn no_requests() -> Requests {
        Requests::new(0x3f2a_91c0 << 32)
    }

    const FIRST: &str = "q-3f2a91c0-1";
    const SECOND: &str = "q-3f2a91c0-2";

    /// What is answered to an order of a token.
    fn add(requests: &mut Requests, first: &Token, reason: &str) -> Result<Vec<u8>, Failed> {
        let (operation, parts) = find(&Method::POST, "/v1/tenants/acme/halt").unwrap();
        let said = Some(said(&first.name, reason));
        let asked = Asked { parts, said, ..Asked::default() };
        let (command, said) = operation.order(&asked).unwrap()?;
        requests.add(
            (operation, &asked),
            GivenOrder { command, resolved: resolved("3 governors"), said },
            first,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_so_many_of_one_person_and_for_so_long() {
        let (alice, other) = (token("alice", Role::Operator), token("alice-2", Role::Operator));
        let other = other.of_person("alice");
        let all = Tokens::new(vec![alice.clone()]);
        let mut requests = no_requests();
        for _ in 0..REQUESTS_OF_ONE {
            add(&mut requests, &alice, "a drill").ok().unwrap();
        }
        for of_one in [&alice, &other] {
            assert!(add(&mut requests, of_one, "a drill").is_err());
        }
        for number in 0..REQUESTS_MAX - REQUESTS_OF_ONE {
            add(&mut requests, &token(&format!("t-{number}"), Role::Operator), "a drill").ok().unwrap();
        }
        assert!(add(&mut requests, &token("bob", Role::Operator), "a drill").is_err());
        assert_eq!(requests.list().len(), REQUESTS_MAX);
        tokio::time::advance(LIFE).await;
        assert!(requests.list().is_empty());
        assert_eq!(requests.refuse(FIRST, (&all, &alice)), Err(Refused::Missing(NO_REQUEST)));
        assert!(add(&mut requests, &alice, "a drill").is_ok());
    }

    #[tokio::test]
    async fn the_second_is_another_person_who_may_and_the_first_still_may() {
        let (alice, bob) = (token("alice", Role::Operator), token("bob", Role::Operator));
        let (viewer, new) = (token("eve", Role::Viewer), token("alice-2", Role::Operator).of_person("alice"));
        let all = Tokens::new(vec![alice.clone(), bob.clone(), new.clone()]);
        let mut requests = no_requests();
        add(&mut requests, &alice, "a drill").ok().unwrap();
        let mut refused = |tokens: &Tokens, second: &Token| {
            let refused = requests.approve(FIRST, (tokens, second), &said(&second.name, "seen")).err();
            assert!(matches!(refused, Some(Failed::Refused(Refused::Conflict(_)))), "{}", second.name);
        };
        for second in [&alice, &new, &viewer] {
            refused(&all, second);
        }
        refused(&Tokens::new(vec![bob.clone(), viewer.clone()]), &bob);
        refused(&Tokens::new(vec![token("alice", Role::Viewer), bob.clone()]), &bob);
        // The one token of a person who ordered is told to be of another now.
        refused(&Tokens::new(vec![alice.clone().of_person("bob"), bob.clone()]), &bob);
        for other_name in
            ["q-3f2a91c0-+1", "q-3f2a91c0-01", "q-3f2a91c0-1 ", "1", "q-", "q-1", "q-3f2a91c1-1"]
        {
            let missing = requests.approve(other_name, (&all, &bob), &said("bob", "seen")).err();
            assert!(matches!(missing, Some(Failed::Refused(Refused::Missing(_)))), "{other_name}");
        }
        let Approved { ordered, view, .. } =
            requests.approve(FIRST, (&all, &bob), &said("bob", "seen")).ok().unwrap();
        assert_eq!((view.command, &*view.concerns, &*view.who), ("tenant halt", "3 governors", "alice"));
        let scope = crate::halt::HaltScope::Tenant("acme".into());
        assert_eq!(ordered.command, OperatorCommand::Halt(scope));
        let Said { actor, reason } = ordered.said;
        assert_eq!((&*actor, &*reason), ("alice and bob", "ordered: \"a drill\"; approved: \"seen\""));
    }

    #[tokio::test]
    async fn who_may_not_order_it_refuses_it_only_as_their_own() {
        let (alice, bob) = (token("alice", Role::Operator), token("bob", Role::Operator));
        let (lesser, other) = (token("alice-2", Role::Viewer).of_person("alice"), token("eve", Role::Viewer));
        let all = Tokens::new(vec![alice.clone(), bob.clone(), lesser.clone(), other.clone()]);
        let mut requests = no_requests();
        add(&mut requests, &alice, "a drill").ok().unwrap();
        let refused = requests.refuse(FIRST, (&all, &other)).unwrap_err().to_string();
        assert_eq!(refused, "the role operator is needed to refuse an order of others");
        requests.refuse(FIRST, (&all, &lesser)).unwrap();
        add(&mut requests, &alice, "a drill").ok().unwrap();
        requests.refuse(SECOND, (&all, &bob)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_approved_is_under_way_until_it_has_ended() {
        let (alice, bob) = (token("alice", Role::Operator), token("bob", Role::Operator));
        let all = Tokens::new(vec![alice.clone(), bob.clone()]);
        let mut requests = no_requests();
        add(&mut requests, &alice, "a drill").ok().unwrap();
        let approve = |requests: &mut Requests| requests.approve(FIRST, (&all, &bob), &said("bob", "seen"));
        let id = approve(&mut requests).ok().unwrap().number;
        assert_eq!(approve(&mut requests).err().unwrap().to_string(), UNDER_WAY);
        assert_eq!(requests.refuse(FIRST, (&all, &alice)), Err(Refused::Conflict(UNDER_WAY.into())));
        tokio::time::advance(LIFE).await;
        assert!(requests.list()[0].under_way, "it does not lapse meanwhile");
        requests.end(id, Some("it does not fit".into()));
        assert!(requests.list().is_empty(), "it lapsed");
        add(&mut requests, &alice, "a drill").ok().unwrap();
        let approve = |requests: &mut Requests| requests.approve(SECOND, (&all, &bob), &said("bob", "seen"));
        let id = approve(&mut requests).ok().unwrap().number;
        requests.end(id, Some("it does not fit".into()));
        assert_eq!(requests.list()[0].refused.as_deref(), Some("it does not fit"));
        let id = approve(&mut requests).ok().unwrap().number;
        requests.end(id, None);
        assert!(requests.list().is_empty() && approve(&mut requests).is_err());
    }

    #[tokio::test]
    async fn neither_reason_erases_or_imitates_the_other() {
        let (alice, bob) = (token("alice", Role::Operator), token("bob", Role::Operator));
        let all = Tokens::new(vec![alice.clone(), bob.clone()]);
        let mut requests = no_requests();
        for (first, second) in [
            ("a\"; approved: \"b".to_owned(), "seen".to_owned()),
            ("é".repeat(REQUEST_REASON_BYTES_MAX / 2 - 1), "x".repeat(REQUEST_REASON_BYTES_MAX - 2)),
        ] {
            let answer = add(&mut requests, &alice, &first).ok().unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            let id = answer["request"]["id"].as_str().unwrap();
            let approved = requests.approve(id, (&all, &bob), &said("bob", &second));
            let Said { actor, reason } = approved.ok().unwrap().ordered.said;
            let rest = reason.strip_prefix("ordered: ").unwrap();
            let mut read = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            assert_eq!(read.next().unwrap().unwrap(), first);
            let (_, rest) = rest.split_at(read.byte_offset());
            let rest = rest.strip_prefix("; approved: ").unwrap();
            assert_eq!(serde_json::from_str::<String>(rest).unwrap(), second);
            assert!(
                format!("halt of tenant acme by {actor}: {reason}").len() <= crate::limits::REASON_BYTES_MAX
            );
        }
        for long in ["x".repeat(REQUEST_REASON_BYTES_MAX - 1), "\"".repeat(REQUEST_REASON_BYTES_MAX / 2)] {
            assert!(matches!(add(&mut requests, &alice, &long), Err(Failed::Wrong(_))));
            add(&mut requests, &alice, "short").ok().unwrap();
            let id = requests.list().pop().unwrap().id;
            let refused = requests.approve(&id, (&all, &bob), &said("bob", &long));
            assert!(matches!(refused, Err(Failed::Wrong(_))));
            assert!(!requests.list().pop().unwrap().under_way);
        }
    }
}
