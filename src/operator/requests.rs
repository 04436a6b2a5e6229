//! Orders that need two persons: each waits, unchanged, until somebody else who may order it approves. Nothing of it is durable
//! before: a request that lapses, is refused, or is lost with the process, was no act.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::operations::{Asked, Operation};
use super::terms::{Refused, Said};
use super::token::{Token, Tokens};
use crate::limits::{REQUEST_SECONDS, REQUESTS_MAX, REQUESTS_OF_ONE};

/// An order that waits.
struct Waiting {
    operation: &'static Operation,
    asked: Asked,
    said: Said,
    since: Instant,
}

/// As operators see it.
#[derive(Serialize)]
pub struct RequestView {
    pub id: String,
    /// The words of the command that orders it.
    pub command: &'static str,
    /// Method and path.
    pub request: String,
    pub who: Box<str>,
    pub reason: Box<str>,
    /// Seconds until it lapses.
    pub lapses_in_seconds: u64,
}

/// All that wait.
#[derive(Default)]
pub struct Requests {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

const NO_REQUEST: &str = "no order waits under this id: it was approved, refused, or has lapsed";

impl Requests {
    /// Keeps an order until somebody else approves it; what is answered.
    pub fn add(&mut self, operation: &'static Operation, asked: Asked) -> Result<Vec<u8>, Refused> {
        let said = asked.said.clone();
        let said = said.ok_or_else(|| Refused::Wrong("a reason is required: say why in `reason`".into()))?;
        let now = Instant::now();
        self.forget(now);
        let own = self.waiting.values().filter(|waiting| waiting.said.actor == said.actor).count();
        if self.waiting.len() >= REQUESTS_MAX || own >= REQUESTS_OF_ONE {
            return Err(Refused::Conflict(format!(
                "{} orders wait for a second person, {own} of them yours: refuse some first",
                self.waiting.len()
            )));
        }
        self.last += 1;
        let waiting = Waiting { operation, asked, said, since: now };
        let view = view(self.last, &waiting, now);
        self.waiting.insert(self.last, waiting);
        let what = "it needs a second person: somebody else approves it by `gemba request approve`";
        serde_json::to_vec(&json!({"status": "waits", "detail": what, "request": view}))
            .map_err(|_| Refused::Unavailable)
    }

    /// Those that wait, the oldest first.
    pub fn list(&mut self) -> Vec<RequestView> {
        let now = Instant::now();
        self.forget(now);
        self.waiting.iter().map(|(id, waiting)| view(*id, waiting, now)).collect()
    }

    /// Takes an order out to carry it out: as ordered by the one, and approved by `second`.
    pub fn approve(
        &mut self,
        id: &str,
        (tokens, second): (&Tokens, &Token),
        said: &Said,
    ) -> Result<(&'static Operation, Asked), Refused> {
        let (id, waiting) = self.find(id)?;
        let first = &*waiting.said.actor;
        if first == &*second.name {
            return Err(Refused::Conflict("you ordered it: somebody else has to approve".into()));
        }
        let needed = waiting.operation.need.role();
        if second.role < needed {
            return Err(Refused::Conflict(format!("the role {} is needed to approve it", needed.into_str())));
        }
        if !tokens.has(first, needed) {
            return Err(Refused::Conflict(format!("`{first}` may not order it any more: refuse it")));
        }
        let waiting = self.waiting.remove(&id).ok_or(Refused::Missing(NO_REQUEST))?;
        let Said { actor, reason } = waiting.said;
        let both = format!("{} and {}", &*actor, &*second.name);
        let reason = format!("{}; approved: {}", &*reason, &*said.reason);
        let said = Some(Said { actor: both.into(), reason: reason.into() });
        Ok((waiting.operation, Asked { said, ..waiting.asked }))
    }

    /// Forgets an order that is not to be carried out.
    pub fn refuse(&mut self, id: &str) -> Result<(), Refused> {
        let (id, _) = self.find(id)?;
        self.waiting.remove(&id);
        Ok(())
    }

    fn find(&mut self, id: &str) -> Result<(u64, &Waiting), Refused> {
        self.forget(Instant::now());
        let number = id.strip_prefix("q-").and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or(Refused::Missing(NO_REQUEST))?;
        Ok((number, self.waiting.get(&number).ok_or(Refused::Missing(NO_REQUEST))?))
    }

    fn forget(&mut self, now: Instant) {
        self.waiting.retain(|_, waiting| now.saturating_duration_since(waiting.since) < LIFE);
    }
}

const LIFE: Duration = Duration::from_secs(REQUEST_SECONDS as u64);

fn view(id: u64, waiting: &Waiting, now: Instant) -> RequestView {
    let Waiting { operation, asked, said, since } = waiting;
    let parts: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
    RequestView {
        id: format!("q-{id}"),
        command: operation.command.unwrap_or_default(),
        request: format!("{} {}", operation.method(), operation.path_to(&parts)),
        who: (*said.actor).into(),
        reason: (*said.reason).into(),
        lapses_in_seconds: LIFE.saturating_sub(now.saturating_duration_since(*since)).as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::operations::of_command;
    use super::super::token::Role;
    use super::*;

    fn token(name: &str, role: Role) -> Token {
        Token::new(name, role, name.as_bytes())
    }

    fn asked(by: &str) -> Asked {
        let said = Some(Said { actor: by.into(), reason: "a drill".into() });
        Asked { parts: vec!["acme".into()], said, ..Asked::default() }
    }

    fn said() -> Said {
        Said { actor: "bob".into(), reason: "seen".into() }
    }

    fn halt() -> &'static Operation {
        of_command("tenant halt").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_so_many_of_one_and_for_so_long() {
        let mut requests = Requests::default();
        for _ in 0..REQUESTS_OF_ONE {
            requests.add(halt(), asked("alice")).unwrap();
        }
        assert!(requests.add(halt(), asked("alice")).is_err());
        for number in 0..REQUESTS_MAX - REQUESTS_OF_ONE {
            requests.add(halt(), asked(&format!("t-{number}"))).unwrap();
        }
        assert!(requests.add(halt(), asked("bob")).is_err());
        assert_eq!(requests.list().len(), REQUESTS_MAX);
        tokio::time::advance(LIFE).await;
        assert!(requests.list().is_empty());
        assert_eq!(requests.refuse("q-1"), Err(Refused::Missing(NO_REQUEST)));
        assert!(requests.add(halt(), asked("alice")).is_ok());
    }

    #[tokio::test]
    async fn the_second_is_another_who_may_and_the_first_still_may() {
        let (alice, bob) = (token("alice", Role::Operator), token("bob", Role::Operator));
        let all = Tokens::new(vec![alice.clone(), bob.clone()]);
        let mut requests = Requests::default();
        requests.add(halt(), asked("alice")).unwrap();
        let viewer = token("eve", Role::Viewer);
        for (tokens, second) in
            [(&all, &alice), (&all, &viewer), (&Tokens::new(vec![bob.clone(), viewer.clone()]), &bob)]
        {
            let refused = requests.approve("q-1", (tokens, second), &said()).err();
            assert!(matches!(refused, Some(Refused::Conflict(_))), "{}", second.name);
        }
        let lesser = Tokens::new(vec![token("alice", Role::Viewer), bob.clone()]);
        assert!(requests.approve("q-1", (&lesser, &bob), &said()).is_err(), "it lost its role");
        let (operation, asked) = requests.approve("q-1", (&all, &bob), &said()).ok().unwrap();
        assert_eq!((operation.command, asked.parts), (Some("tenant halt"), vec!["acme".to_owned()]));
        let said_in_all = asked.said.unwrap();
        assert_eq!((&*said_in_all.actor, &*said_in_all.reason), ("alice and bob", "a drill; approved: seen"));
        assert!(requests.approve("q-1", (&all, &bob), &said()).is_err(), "it is carried out once");
    }
}
