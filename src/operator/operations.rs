//! Every operation of the plane in one table: its request, who may ask, which command sends it. Routing and the commands
//! follow from it, the table in `docs/api.md` describes it; what an operation does is the line's, behind [`Line`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;
use serde::Serialize;
use serde_json::json;

use super::access::Need;
use super::board::{BoardFile, BoardRoute};
use super::query::{self, Query};
use super::terms::{
    Again, AlertOrder, Filter, OperatorCommand, Refused, Reply, RequestRoute, Resolved, Said,
};
use super::token::Role;
use crate::alert::{AlertDigits, AlertPage, AlertsWanted, Importance};
use crate::board_view::BoardView;
use crate::case::{Case, CaseFilter, CaseId, Found};
use crate::event::{Seq, Subject, Verb};
use crate::halt::HaltScope;
use crate::improvement::Look;
use crate::kaizen::Format;
use crate::percent;
use crate::receipt::filter::{ReceiptFilter, ReceiptTypes};
use crate::receipt::{ReceiptId, ReceiptType, StateName};
use crate::tapped::TapAsked;
use crate::variants;
use crate::view::{
    AlertOrdered, AlertView, ConfigView, DiscardedView, DryRun, GovernorView, HaltsView, LogLevels,
    NodeStatus, Ordered, PeerView, ReachView, ReceiptPage, Reloaded, RulesView, SignalStatus, SilenceView,
    StageHealth, Story, TapView,
};

/// What may be asked of the plane.
pub struct Operation {
    /// Method and path; a part in braces stands for any.
    pub request: &'static str,
    pub need: Need,
    /// The words of the command that sends it.
    pub command: Option<&'static str>,
    /// The names that its query may have.
    parameters: &'static [&'static str],
    body: Body,
    does: Does,
}

/// What an operation is for.
enum Does {
    /// It shows something.
    Show(for<'a> fn(&'a dyn Line, &'a Asked) -> Answering<'a>),
    /// It orders something, which is read whole before anything is done.
    Order(fn(&Asked) -> Result<OperatorCommand, Failed>),
}

/// What the operator plane may ask and order. An order is answered once it is durable and its effect can be seen.
pub trait Line {
    /// The signal of this tenant and id, from this source if one is named.
    fn signal(&self, tenant: &str, id: &str, source: Option<&str>) -> Reply<SignalStatus>;
    /// The same in order, with what its receipts say.
    fn story(&self, tenant: &str, id: &str, source: Option<&str>) -> Reply<Story>;
    /// Other nodes, which may know what this one does not.
    fn peers(&self) -> Arc<[PeerView]>;
    /// Receipts that the filter takes, the newest first, at most `limit`; those before the entry `after` of the log.
    fn receipts(&self, filter: ReceiptFilter, after: Option<u64>, limit: usize) -> Reply<ReceiptPage>;
    /// The receipt's canonical JSON.
    fn receipt(&self, id: ReceiptId) -> Reply<Vec<u8>>;
    fn governor(&self, subject: Subject) -> Reply<GovernorView>;
    fn governors(&self, filter: Filter) -> Reply<Vec<GovernorView>>;
    fn command(&self, subject: Subject, verb: Verb, said: Said) -> Reply<(Ordered, GovernorView)>;
    /// Everything that operators halted.
    fn halts(&self) -> Reply<HaltsView>;
    /// What such a halt holds up, or would.
    fn reach(&self, scope: HaltScope) -> Reply<ReachView>;
    fn order_halt(&self, scope: HaltScope, begins: bool, said: Said) -> Reply<Ordered>;
    fn dead_letters(&self, filter: CaseFilter, after: Seq, limit: usize) -> Reply<Found>;
    /// The case and its signal's text.
    fn dead_letter(&self, id: CaseId) -> Reply<(Case, bytes::Bytes)>;
    /// What a replay would do now.
    fn dry_run(&self, id: CaseId) -> Reply<DryRun>;
    fn replay(&self, id: CaseId, said: Said, how: Again) -> Reply<Ordered>;
    fn discard(&self, id: CaseId, said: Said) -> Reply<Ordered>;
    /// Discards the open cases that the filter takes, if there are so many, and if they are those that were seen.
    fn discard_all(
        &self,
        filter: CaseFilter,
        expected: u64,
        said: Said,
        seen: Option<Resolved>,
    ) -> Reply<DiscardedView>;
    /// Alerts, the open ones first, the most severe first among each, and of these the newest.
    fn alerts(&self, wanted: AlertsWanted) -> Reply<AlertPage>;
    fn alert(&self, called: AlertDigits) -> Reply<AlertView>;
    fn silences(&self) -> Reply<Vec<SilenceView>>;
    /// Orders something of alerts or silences, if it concerns what was seen.
    fn order_alert(&self, order: AlertOrder, said: Said, seen: Option<Resolved>) -> Reply<AlertOrdered>;
    fn rules(&self) -> Reply<RulesView>;
    /// Reads the policy packs anew, if they are those that were seen; `None` when nothing changed.
    fn reload_policy(&self, said: Said, seen: Option<Resolved>) -> Reply<Option<(Ordered, RulesView)>>;
    /// The configuration that holds.
    fn configuration(&self) -> ConfigView;
    /// Reads the whole configuration anew, if the one that holds is named in `if_match`, and what is read is what was seen.
    fn reload(&self, said: Said, if_match: Option<String>, seen: Option<Resolved>) -> Reply<Reloaded>;
    /// Checks an order that is not carried out yet as far as can be, and takes down what it comes to.
    fn resolve(&self, command: OperatorCommand) -> Reply<Resolved>;
    /// Signals as they are decided, for who looks.
    fn tap(&self, asked: TapAsked, by: &str) -> Result<TapView, Refused>;
    fn health(&self) -> Vec<StageHealth>;
    fn status(&self) -> NodeStatus;
    /// What the board shows now.
    fn board(&self) -> BoardView;
    /// What was measured since the start.
    fn kaizen(&self) -> Look;
    fn metrics(&self, format: Format) -> String;
    /// Those of tenants, where they are decided on.
    fn tenants_metrics(&self, format: Format) -> Result<String, Refused>;
    /// The levels of the log, as its filter is written.
    fn log_levels(&self) -> String;
    /// Changes those that are named, until the next start.
    fn change_log_levels(&self, change: &str, said: Said) -> Reply<LogLevels>;
}

/// What stands in the body of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Nothing,
    Reason,
    ReasonAndQuota,
    ReasonAndLevel,
    /// Which alerts, for how long, and why.
    Silence,
    /// How urgent, its name, and why.
    TestAlert,
    /// For a session of the board.
    Token,
}

/// A request, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The parts of the path that stand in braces.
    pub parts: Vec<String>,
    pub query: Query,
    /// Who orders, and why: of operations whose body has a reason.
    pub said: Option<Said>,
    pub quota_remaining: Option<u32>,
    /// A change of the log's levels.
    pub level: Option<String>,
    /// Of a silence: which alerts, and for how long.
    pub when: Option<String>,
    pub minutes: Option<u64>,
    /// Of a test of alerts.
    pub severity: Option<String>,
    pub name: Option<String>,
    /// How the metrics are to be written.
    pub format: Format,
    /// May be told more than that the node is ready or not.
    pub is_trusted: bool,
    /// What must hold for an order to be carried out.
    pub if_match: Option<String>,
    /// The name of the token of who asks; empty without one.
    pub by: String,
}

/// What is answered with 200, or with 503 by a node that is not ready.
pub(super) enum Shown {
    Json(Vec<u8>),
    /// With the `ETag` of what it shows.
    Tagged(Vec<u8>, String),
    NotReady(Vec<u8>),
    /// The order waits for a second person.
    Waits(Vec<u8>),
    Metrics(Format, String),
    /// Something that the plane has, and not the line.
    Board(BoardRoute),
    Requests(RequestRoute),
}

/// Why nothing is shown.
pub(super) enum Failed {
    /// The request does not say what it should.
    Wrong(String),
    Refused(Refused),
}

impl Failed {
    /// Of an order that says all of it itself, what the line finds wrong is wrong in the request.
    pub(super) fn of_order(says_all: bool, refused: Refused) -> Self {
        if says_all && let Refused::Wrong(what) = refused {
            return Self::Wrong(what);
        }
        Self::Refused(refused)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) => f.write_str(what),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Shown, Failed>> + 'a>>;

/// No operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoOperation {
    NotFound,
    /// The path is there, for these methods.
    Method(String),
    /// A part of the path is not percent-encoded UTF-8.
    Encoding,
}

pub static OPERATIONS: [Operation; 59] = [
    Operation {
        request: "GET /livez",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { shown(&json!({"status": "live"})) })),
    },
    Operation {
        request: "GET /readyz",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| Box::pin(async move { readiness(line, asked) })),
    },
    Operation {
        request: "GET /metrics",
        need: Need::LoopbackOr(Role::Viewer),
        command: Some("top"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move { Ok(Shown::Metrics(asked.format, line.metrics(asked.format))) })
        }),
    },
    Operation {
        request: "GET /metrics/tenants",
        need: Need::Role(Role::Viewer),
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move { Ok(Shown::Metrics(asked.format, line.tenants_metrics(asked.format)?)) })
        }),
    },
    Operation {
        request: "GET /board",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Board(BoardRoute::Board)) })),
    },
    Operation {
        request: "GET /board/board.css",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| {
            Box::pin(async move { Ok(Shown::Board(BoardRoute::File(BoardFile::Style))) })
        }),
    },
    Operation {
        request: "GET /board/board.js",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| {
            Box::pin(async move { Ok(Shown::Board(BoardRoute::File(BoardFile::Script))) })
        }),
    },
    Operation {
        request: "GET /board/board.svg",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Board(BoardRoute::File(BoardFile::Icon))) })),
    },
    Operation {
        request: "GET /board/events",
        need: Need::Role(Role::Viewer),
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Board(BoardRoute::Events)) })),
    },
    Operation {
        request: "GET /board/session",
        need: Need::Role(Role::Viewer),
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Board(BoardRoute::Session)) })),
    },
    Operation {
        request: "POST /board/session",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Token,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Board(BoardRoute::OpenSession)) })),
    },
    Operation {
        request: "DELETE /board/session",
        need: Need::Nothing,
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Board(BoardRoute::EndSession)) })),
    },
    Operation {
        request: "GET /v1/status",
        need: Need::Role(Role::Viewer),
        command: Some("status"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| Box::pin(async move { shown(&line.status()) })),
    },
    Operation {
        request: "GET /v1/log/level",
        need: Need::Role(Role::Viewer),
        command: Some("log show"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| Box::pin(async move { shown(&json!({"level": line.log_levels()})) })),
    },
    Operation {
        request: "POST /v1/log/level",
        need: Need::Role(Role::Admin),
        command: Some("log level"),
        parameters: &[],
        body: Body::ReasonAndLevel,
        does: Does::Order(|asked| {
            let level = asked.level.clone();
            let level = level.ok_or("`level` is missing: such as `gemba::kanban=debug`");
            level.map(OperatorCommand::LogLevels).map_err(|wrong| Failed::Wrong(wrong.into()))
        }),
    },
    Operation {
        request: "GET /v1/signals/{tenant}/{id}",
        need: Need::Role(Role::Viewer),
        command: None,
        parameters: &["source"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let tenant = query::tenant(asked.part(0)).map_err(Failed::Wrong)?;
                let source = query::source(&asked.query).map_err(Failed::Wrong)?;
                shown(&line.signal(tenant, asked.part(1), source).await?)
            })
        }),
    },
    Operation {
        request: "GET /v1/signals/{tenant}/{id}/story",
        need: Need::Role(Role::Viewer),
        command: Some("signal show"),
        parameters: &["source"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let tenant = query::tenant(asked.part(0)).map_err(Failed::Wrong)?;
                let source = query::source(&asked.query).map_err(Failed::Wrong)?;
                shown(&line.story(tenant, asked.part(1), source).await?)
            })
        }),
    },
    Operation {
        request: "GET /v1/receipts",
        need: Need::Role(Role::Viewer),
        command: Some("receipts list"),
        parameters: &["type", "tenant", "sku", "rule", "since", "until", "limit", "after"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            let every = ReceiptTypes::of(ReceiptType::ALL);
            list_receipts(line, asked, (every, every))
        }),
    },
    Operation {
        request: "GET /v1/audit",
        need: Need::Role(Role::Viewer),
        command: Some("audit"),
        parameters: &["type", "tenant", "sku", "who", "since", "until", "limit", "after"],
        body: Body::Nothing,
        // Each source leaves a manifest an hour, which would hide the few others.
        does: Does::Show(|line, asked| {
            let known = ReceiptTypes::acts();
            list_receipts(line, asked, (known, known.without(ReceiptType::Manifest)))
        }),
    },
    Operation {
        request: "GET /v1/receipts/{id}",
        need: Need::Role(Role::Viewer),
        command: None,
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let id: ReceiptId = asked.part(0).parse().map_err(|error| wrong(&error))?;
                Ok(Shown::Json(line.receipt(id).await?))
            })
        }),
    },
    Operation {
        request: "GET /v1/governors",
        need: Need::Role(Role::Viewer),
        command: Some("governor list"),
        parameters: &["tenant", "halted", "limit", "after"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let filter = query::governors(&asked.query).map_err(Failed::Wrong)?;
                let page = filter.limit;
                let governors = line.governors(filter).await?;
                let last = governors.last().filter(|_| governors.len() == page);
                let next = last.map(|last| format!("{}/{}", last.tenant, last.sku));
                shown(&json!({"governors": governors, "next": next}))
            })
        }),
    },
    Operation {
        request: "GET /v1/governors/{tenant}/{sku}",
        need: Need::Role(Role::Viewer),
        command: Some("governor show"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move { shown(&line.governor(asked.subject()?).await?) })
        }),
    },
    Operation {
        request: "POST /v1/governors/{tenant}/{sku}/halt",
        need: Need::Role(Role::Operator),
        command: Some("governor halt"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.govern(Verb::Halt)),
    },
    Operation {
        request: "POST /v1/governors/{tenant}/{sku}/resume",
        need: Need::Role(Role::Operator),
        command: Some("governor resume"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.govern(Verb::Resume)),
    },
    Operation {
        request: "POST /v1/governors/{tenant}/{sku}/entitle",
        need: Need::Role(Role::Operator),
        command: Some("governor entitle"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.govern(Verb::Entitle)),
    },
    Operation {
        request: "POST /v1/governors/{tenant}/{sku}/revoke",
        need: Need::Role(Role::Operator),
        command: Some("governor revoke"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.govern(Verb::Revoke)),
    },
    Operation {
        request: "POST /v1/governors/{tenant}/{sku}/quota",
        need: Need::Role(Role::Operator),
        command: Some("governor quota"),
        parameters: &[],
        body: Body::ReasonAndQuota,
        does: Does::Order(|asked| match asked.quota_remaining {
            Some(remaining) => asked.govern(Verb::Quota(remaining)),
            None => {
                Err(Failed::Wrong("`quota_remaining` is missing: the actions left in this window".into()))
            }
        }),
    },
    Operation {
        request: "GET /v1/halts",
        need: Need::Role(Role::Viewer),
        command: Some("halt list"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| Box::pin(async move { shown(&line.halts().await?) })),
    },
    Operation {
        request: "GET /v1/halts/reach",
        need: Need::Role(Role::Viewer),
        command: Some("halt reach"),
        parameters: &["tenant", "target"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let scope = query::halt_scope(&asked.query).map_err(Failed::Wrong)?;
                shown(&line.reach(scope).await?)
            })
        }),
    },
    Operation {
        request: "POST /v1/line/halt",
        need: Need::Role(Role::Operator),
        command: Some("line halt"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|_| Ok(OperatorCommand::Halt(HaltScope::Line))),
    },
    Operation {
        request: "POST /v1/line/resume",
        need: Need::Role(Role::Operator),
        command: Some("line resume"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|_| Ok(OperatorCommand::Resume(HaltScope::Line))),
    },
    Operation {
        request: "POST /v1/tenants/{tenant}/halt",
        need: Need::Role(Role::Operator),
        command: Some("tenant halt"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.tenant().map(OperatorCommand::Halt)),
    },
    Operation {
        request: "POST /v1/tenants/{tenant}/resume",
        need: Need::Role(Role::Operator),
        command: Some("tenant resume"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.tenant().map(OperatorCommand::Resume)),
    },
    Operation {
        request: "POST /v1/targets/{target}/halt",
        need: Need::Role(Role::Operator),
        command: Some("target halt"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Halt(HaltScope::Target(asked.part(0).into())))),
    },
    Operation {
        request: "POST /v1/targets/{target}/resume",
        need: Need::Role(Role::Operator),
        command: Some("target resume"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Resume(HaltScope::Target(asked.part(0).into())))),
    },
    Operation {
        request: "GET /v1/requests",
        need: Need::Role(Role::Viewer),
        command: Some("request list"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Requests(RequestRoute::List)) })),
    },
    Operation {
        request: "POST /v1/requests/{id}/approve",
        need: Need::Role(Role::Operator),
        command: Some("request approve"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Requests(RequestRoute::Approve)) })),
    },
    Operation {
        request: "POST /v1/requests/{id}/refuse",
        need: Need::Role(Role::Operator),
        command: Some("request refuse"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Show(|_, _| Box::pin(async move { Ok(Shown::Requests(RequestRoute::Refuse)) })),
    },
    Operation {
        request: "GET /v1/deadletters",
        need: Need::Role(Role::Viewer),
        command: Some("deadletter list"),
        parameters: &["cause", "status", "tenant", "sku", "type", "limit", "after"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let (filter, after, limit) = query::dead_letters(&asked.query).map_err(Failed::Wrong)?;
                let found = line.dead_letters(filter, after, limit).await?;
                let next = found.next.map(|id| id.to_string());
                shown(&json!({"count": found.count, "deadletters": found.page, "next": next}))
            })
        }),
    },
    Operation {
        request: "GET /v1/deadletters/{id}",
        need: Need::Role(Role::Viewer),
        command: Some("deadletter show"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let (case, signal) = line.dead_letter(asked.case()?).await?;
                let mut both = json!(case);
                // In binary mode the body may be anything.
                let text = || String::from_utf8_lossy(&signal).into();
                both["signal"] = serde_json::from_slice(&signal).unwrap_or_else(|_| text());
                shown(&both)
            })
        }),
    },
    Operation {
        request: "POST /v1/deadletters/{id}/dry-run",
        need: Need::Role(Role::Viewer),
        command: Some("deadletter dry-run"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| Box::pin(async move { shown(&line.dry_run(asked.case()?).await?) })),
    },
    Operation {
        request: "POST /v1/deadletters/{id}/replay",
        need: Need::Role(Role::Operator),
        command: Some("deadletter replay"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Replay(asked.case()?, Again::Replay))),
    },
    Operation {
        request: "POST /v1/deadletters/{id}/resend",
        need: Need::Role(Role::Operator),
        command: Some("deadletter resend"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Replay(asked.case()?, Again::Resend))),
    },
    Operation {
        request: "POST /v1/deadletters/{id}/discard",
        need: Need::Role(Role::Operator),
        command: Some("deadletter discard"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| asked.case().map(OperatorCommand::Discard)),
    },
    Operation {
        request: "POST /v1/discards",
        need: Need::Role(Role::Operator),
        command: Some("deadletter discard-all"),
        parameters: &["cause", "tenant", "sku", "type", "expect"],
        body: Body::Reason,
        does: Does::Order(|asked| {
            let (filter, expected) = query::discarded(&asked.query).map_err(Failed::Wrong)?;
            Ok(OperatorCommand::DiscardAll(filter, expected))
        }),
    },
    Operation {
        request: "GET /v1/alerts",
        need: Need::Role(Role::Viewer),
        command: Some("alert list"),
        parameters: &["state", "severity", "tenant", "limit", "after"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let wanted = query::alerts(&asked.query).map_err(Failed::Wrong)?;
                let AlertPage { alerts, count, next } = line.alerts(wanted).await?;
                let next = next.map(|next| next.to_string());
                shown(&json!({"count": count, "alerts": alerts, "next": next}))
            })
        }),
    },
    Operation {
        request: "POST /v1/alerts",
        need: Need::Role(Role::Operator),
        command: Some("alert test"),
        parameters: &[],
        body: Body::TestAlert,
        does: Does::Order(|asked| {
            let severity = asked.severity.as_deref().unwrap_or(Importance::Info.into_str());
            let importance = variants::named(severity, &Importance::ALL);
            let importance = importance.map_err(|error| Failed::Wrong(format!("`severity` {error}")))?;
            let name = asked.name.clone().unwrap_or_default();
            Ok(OperatorCommand::Alert(AlertOrder::Test { importance, name }))
        }),
    },
    Operation {
        request: "GET /v1/alerts/{id}",
        need: Need::Role(Role::Viewer),
        command: Some("alert show"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, asked| Box::pin(async move { shown(&line.alert(asked.alert()?).await?) })),
    },
    Operation {
        request: "POST /v1/alerts/{id}/acknowledge",
        need: Need::Role(Role::Operator),
        command: Some("alert acknowledge"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Alert(AlertOrder::Acknowledge(asked.alert()?)))),
    },
    Operation {
        request: "POST /v1/alerts/{id}/resolve",
        need: Need::Role(Role::Operator),
        command: Some("alert resolve"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Alert(AlertOrder::Resolve(asked.alert()?)))),
    },
    Operation {
        request: "GET /v1/silences",
        need: Need::Role(Role::Viewer),
        command: Some("silence list"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| {
            Box::pin(async move { shown(&json!({"silences": line.silences().await?})) })
        }),
    },
    Operation {
        request: "POST /v1/silences",
        need: Need::Role(Role::Operator),
        command: Some("silence add"),
        parameters: &[],
        body: Body::Silence,
        does: Does::Order(|asked| {
            let missing = |what: &str| Failed::Wrong(what.into());
            let when = asked.when.clone();
            let when = when.ok_or_else(|| missing("`when` is missing: which alerts, as CEL over `alert`"))?;
            let minutes = asked.minutes.ok_or_else(|| missing("`minutes` is missing: a silence ends"))?;
            Ok(OperatorCommand::Alert(AlertOrder::Silence { when, minutes }))
        }),
    },
    Operation {
        request: "POST /v1/silences/{id}/end",
        need: Need::Role(Role::Operator),
        command: Some("silence end"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| {
            let plain = asked.part(0).bytes().all(|byte| byte.is_ascii_digit());
            let id = plain.then(|| asked.part(0).parse().ok()).flatten().map(Seq);
            let id = id.ok_or_else(|| Failed::Wrong("a silence is named by a number, its `id`".into()))?;
            Ok(OperatorCommand::Alert(AlertOrder::EndSilence(id)))
        }),
    },
    Operation {
        request: "GET /v1/kaizen",
        need: Need::Role(Role::Viewer),
        command: Some("kaizen record"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| Box::pin(async move { shown(&line.kaizen()) })),
    },
    Operation {
        request: "GET /v1/tap",
        need: Need::Role(Role::Viewer),
        command: Some("tap"),
        parameters: &["source", "tenant", "rule", "result", "look"],
        body: Body::Nothing,
        does: Does::Show(|line, asked| {
            Box::pin(async move {
                let wanted = query::tap(&asked.query).map_err(Failed::Wrong)?;
                shown(&line.tap(wanted, &asked.by)?)
            })
        }),
    },
    Operation {
        request: "GET /v1/config",
        need: Need::Role(Role::Viewer),
        command: Some("config show"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| {
            Box::pin(async move {
                let view = line.configuration();
                Ok(Shown::Tagged(to_json(&view)?, view.etag))
            })
        }),
    },
    Operation {
        request: "POST /v1/reload",
        need: Need::Role(Role::Admin),
        command: Some("reload"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|asked| Ok(OperatorCommand::Reload { if_match: asked.if_match.clone() })),
    },
    Operation {
        request: "GET /v1/policy",
        need: Need::Role(Role::Viewer),
        command: Some("policy show"),
        parameters: &[],
        body: Body::Nothing,
        does: Does::Show(|line, _| Box::pin(async move { shown(&line.rules().await?) })),
    },
    Operation {
        request: "POST /v1/policy/reload",
        need: Need::Role(Role::Admin),
        command: Some("policy reload"),
        parameters: &[],
        body: Body::Reason,
        does: Does::Order(|_| Ok(OperatorCommand::ReloadPolicy)),
    },
];

fn shown<T: Serialize>(value: &T) -> Result<Shown, Failed> {
    Ok(Shown::Json(to_json(value)?))
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Failed> {
    serde_json::to_vec(value).map_err(|_| Failed::Refused(Refused::Unavailable))
}

/// Answers with a page of receipts of the types that are asked for, of those that are known; else of the usual ones.
fn list_receipts<'a>(
    line: &'a dyn Line,
    asked: &'a Asked,
    types: (ReceiptTypes, ReceiptTypes),
) -> Answering<'a> {
    Box::pin(async move {
        let (filter, after, limit) = query::receipts(&asked.query, types).map_err(Failed::Wrong)?;
        Ok(Shown::Json(page(&line.receipts(filter, after, limit).await?)))
    })
}

/// A page of receipts. Each stands in it byte for byte: its hash is of these bytes.
fn page(found: &ReceiptPage) -> Vec<u8> {
    let next = found.next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    [b"{\"next\":", next.as_bytes(), b",\"receipts\":[", &found.receipts.join(&b","[..]), b"]}"].concat()
}

fn wrong(error: &impl ToString) -> Failed {
    Failed::Wrong(error.to_string())
}

fn readiness(line: &dyn Line, asked: &Asked) -> Result<Shown, Failed> {
    let stages = line.health();
    let is_ready = stages.iter().all(|stage| stage.ok);
    let mut shown = json!({"status": if is_ready { "ready" } else { "not ready" }});
    if asked.is_trusted {
        shown["stages"] = json!(stages);
    }
    let shown = to_json(&shown)?;
    Ok(if is_ready { Shown::Json(shown) } else { Shown::NotReady(shown) })
}

/// Has an order carried out, if what it reads is what was `seen`.
pub(super) fn carry_out(
    line: &dyn Line,
    command: OperatorCommand,
    said: Said,
    seen: Option<Resolved>,
) -> Answering<'_> {
    let says_all = command.says_all();
    Box::pin(async move {
        let done = carry_out_as_read(line, command, said, seen).await;
        done.map_err(|failed| match failed {
            Failed::Refused(refused) => Failed::of_order(says_all, refused),
            wrong @ Failed::Wrong(_) => wrong,
        })
    })
}

async fn carry_out_as_read(
    line: &dyn Line,
    command: OperatorCommand,
    said: Said,
    seen: Option<Resolved>,
) -> Result<Shown, Failed> {
    if seen.is_some() && !command.compares_itself() {
        line.resolve(command.clone()).await?.is_as_seen(seen.as_ref())?;
    }
    match command {
        OperatorCommand::Govern(subject, verb) => {
            // Only a halted one is resumed; of the others it is not told whether they were as they were ordered to be.
            let changed = match verb {
                Verb::Resume => {
                    Some(line.governor(subject.clone()).await?.state == StateName::Halted.into_str())
                }
                Verb::Halt | Verb::Entitle | Verb::Revoke | Verb::Quota(_) | Verb::Discard(_) => None,
            };
            let (Ordered { seq, receipt_id }, governor) = line.command(subject, verb, said).await?;
            let mut done = json!({"seq": seq, "receipt_id": receipt_id, "governor": governor});
            if let Some(changed) = changed {
                done["changed"] = changed.into();
            }
            shown(&done)
        }
        OperatorCommand::Halt(scope) => order_halt(line, scope, true, said).await,
        OperatorCommand::Resume(scope) => order_halt(line, scope, false, said).await,
        OperatorCommand::Replay(case, how) => shown(&line.replay(case, said, how).await?),
        OperatorCommand::Discard(case) => shown(&line.discard(case, said).await?),
        OperatorCommand::DiscardAll(filter, expected) => {
            shown(&line.discard_all(filter, expected, said, seen).await?)
        }
        OperatorCommand::Alert(order) => shown(&line.order_alert(order, said, seen).await?),
        OperatorCommand::ReloadPolicy => shown(&match line.reload_policy(said, seen).await? {
            None => json!({"changed": false}),
            Some((ordered, rules)) => json!({
                "changed": true, "seq": ordered.seq, "receipt_id": ordered.receipt_id, "policy": rules,
            }),
        }),
        OperatorCommand::Reload { if_match } => {
            let reloaded = line.reload(said, if_match, seen).await?;
            Ok(Shown::Tagged(to_json(&reloaded)?, reloaded.etag))
        }
        OperatorCommand::LogLevels(change) => shown(&line.change_log_levels(&change, said).await?),
    }
}

/// Answered with the halt's reach, so that who orders it sees what it holds up.
async fn order_halt(line: &dyn Line, scope: HaltScope, begins: bool, said: Said) -> Result<Shown, Failed> {
    let Ordered { seq, receipt_id } = line.order_halt(scope.clone(), begins, said).await?;
    let reach = line.reach(scope).await?;
    shown(&json!({"seq": seq, "receipt_id": receipt_id, "reach": reach}))
}

impl Asked {
    pub(super) fn part(&self, number: usize) -> &str {
        self.parts.get(number).map_or("", String::as_str)
    }

    fn subject(&self) -> Result<Subject, Failed> {
        Subject::read(self.part(0), self.part(1)).map_err(|error| wrong(&error))
    }

    fn govern(&self, verb: Verb) -> Result<OperatorCommand, Failed> {
        Ok(OperatorCommand::Govern(self.subject()?, verb))
    }

    fn tenant(&self) -> Result<HaltScope, Failed> {
        let tenant = query::tenant(self.part(0)).map_err(Failed::Wrong)?;
        Ok(HaltScope::Tenant(tenant.into()))
    }

    fn alert(&self) -> Result<AlertDigits, Failed> {
        self.part(0).parse().map_err(|error| wrong(&error))
    }

    fn case(&self) -> Result<CaseId, Failed> {
        self.part(0).parse().map_err(|error| wrong(&error))
    }

    /// What the body says beside the reason.
    fn fields(&self) -> serde_json::Map<String, serde_json::Value> {
        let Self { quota_remaining, level, when, minutes, severity, name, .. } = self;
        let fields = [
            ("quota_remaining", quota_remaining.map(Into::into)),
            ("level", level.clone().map(Into::into)),
            ("when", when.clone().map(Into::into)),
            ("minutes", minutes.map(Into::into)),
            ("severity", severity.clone().map(Into::into)),
            ("name", name.clone().map(Into::into)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// Notes whose token asks.
    pub(super) fn is_by(&mut self, name: &str) {
        name.clone_into(&mut self.by);
        if let Some(said) = &mut self.said {
            said.actor = name.into();
        }
    }

    pub(super) fn said(&self) -> Result<Said, Failed> {
        self.said.clone().ok_or_else(|| Failed::Wrong("a reason is required: say why in `reason`".into()))
    }
}

impl Operation {
    /// Of the table's requests; each has a method.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.request.split_once(' ') {
            Some(("POST", _)) => Method::POST,
            Some(("DELETE", _)) => Method::DELETE,
            Some(_) | None => Method::GET,
        }
    }

    /// With the parts in braces.
    fn path(&self) -> impl Iterator<Item = &'static str> {
        let (_, path) = self.request.split_once(' ').unwrap_or_default();
        path.split('/').skip(1)
    }

    /// The path, with these in place of the parts in braces.
    #[must_use]
    pub fn path_to(&self, parts: &[&str]) -> String {
        let mut parts = parts.iter();
        self.path().fold(String::new(), |path, part| {
            let given =
                if part.starts_with('{') { parts.next().map(|part| percent::encode(part)) } else { None };
            path + "/" + given.as_deref().unwrap_or(part)
        })
    }

    /// What stands in place of the parts in braces, if it is this path.
    fn matches(&self, path: &[String]) -> Option<Vec<String>> {
        let mut given = Vec::new();
        let mut rest = path.iter();
        for part in self.path() {
            let there = rest.next()?;
            if part.starts_with('{') {
                given.push(there.clone());
            } else if part != there {
                return None;
            }
        }
        rest.next().is_none().then_some(given)
    }

    /// The names that the query of its request may have.
    pub(super) fn parameters(&self) -> &'static [&'static str] {
        self.parameters
    }

    /// Whether its answer goes on.
    pub(super) fn is_watched(&self) -> bool {
        self.request == "GET /board/events"
    }

    /// What its body must be.
    pub(super) fn body(&self) -> Body {
        self.body
    }

    pub(super) fn answer<'a>(&self, line: &'a dyn Line, asked: &'a Asked) -> Answering<'a> {
        match self.does {
            Does::Show(show) => show(line, asked),
            Does::Order(read) => Box::pin(async move {
                let command = read(asked)?;
                carry_out(line, command, asked.said()?, None).await
            }),
        }
    }

    /// What is ordered, read whole; `None` of an operation that orders nothing.
    pub(super) fn order(&self, asked: &Asked) -> Option<Result<(OperatorCommand, Said), Failed>> {
        match self.does {
            Does::Show(_) => None,
            Does::Order(read) => Some(read(asked).and_then(|command| Ok((command, asked.said()?)))),
        }
    }

    /// The request in one line: method, path and query, what stands in the body beside the reason, and `If-Match`.
    pub(super) fn told(&self, asked: &Asked) -> String {
        let parts: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
        let mut told = format!("{} {}", self.method(), self.path_to(&parts));
        let query = asked.query.to_text();
        if !query.is_empty() {
            told = told + "?" + &query;
        }
        let fields = asked.fields();
        if !fields.is_empty() {
            told = told + " " + &serde_json::Value::from(fields).to_string();
        }
        match &asked.if_match {
            Some(tag) => told + " If-Match: " + tag,
            None => told,
        }
    }
}

/// Commands that order something, which may need two persons.
pub fn orders() -> impl Iterator<Item = &'static str> {
    let orders = OPERATIONS.iter().filter(|operation| match operation.does {
        Does::Show(_) => false,
        Does::Order(_) => true,
    });
    orders.filter_map(|operation| operation.command)
}

/// Commands that bring the same about. Where one of a group needs two persons, all of it do.
const SIBLINGS: [&[&str]; 3] = [
    &["deadletter discard", "deadletter discard-all"],
    &["deadletter replay", "deadletter resend"],
    &["policy reload", "reload"],
];

/// A command, and those that bring the same about.
pub fn siblings(command: &'static str) -> Vec<&'static str> {
    let group = SIBLINGS.into_iter().find(|group| group.contains(&command));
    group.map_or_else(|| vec![command], <[&str]>::to_vec)
}

/// The operation that a command sends.
#[must_use]
pub fn of_command(words: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.command == Some(words))
}

/// Finds the operation of a request, and what stands in place of the parts in braces.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static Operation, Vec<String>), NoOperation> {
    let parts = path.split('/').skip(1).map(|part| percent::decode(part.as_bytes()));
    let parts: Vec<String> = parts.collect::<Option<_>>().ok_or(NoOperation::Encoding)?;
    let mut allowed = Vec::new();
    for operation in &OPERATIONS {
        let Some(given) = operation.matches(&parts) else { continue };
        let own = operation.method();
        if *method == own || (*method == Method::HEAD && own == Method::GET) {
            return Ok((operation, given));
        }
        allowed.push(allowing(&own).to_owned());
    }
    Err(if allowed.is_empty() { NoOperation::NotFound } else { NoOperation::Method(allowed.join(", ")) })
}

/// As `Allow` names it.
fn allowing(method: &Method) -> &str {
    if *method == Method::GET { "GET, HEAD" } else { method.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(need: Need) -> String {
        match need {
            Need::Nothing => String::new(),
            Need::LoopbackOr(role) => format!("{}, or this machine itself", role.into_str()),
            Need::Role(role) => role.into_str().into(),
        }
    }

    #[test]
    fn the_table_of_the_documentation_is_this_one() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md"));
        let (_, table) =
            page.split_once("| request | role | command | answer |\n|---|---|---|---|\n").unwrap();
        let mut rows = table.lines().take_while(|line| line.starts_with('|'));
        for Operation { request, need, command, .. } in &OPERATIONS {
            let command = command.map_or_else(String::new, |words| format!("`gemba {words}`"));
            let begin = format!("| `{request}` | {} | {command} | ", whose(*need));
            let answer =
                rows.next().and_then(|row| row.strip_prefix(&*begin)).and_then(|row| row.strip_suffix(" |"));
            assert!(
                answer.is_some_and(|answer| !answer.trim().is_empty()),
                "the next row of docs/api.md must be, with what it answers:\n\n{begin}… |"
            );
        }
        assert_eq!(rows.next(), None, "docs/api.md has a row of an operation that does not exist");
    }

    #[test]
    fn every_operation_is_found_by_its_own_request_alone() {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        for operation in &OPERATIONS {
            let path = operation.path_to(&["a/b", "c d"]);
            let (found, given) = find(&operation.method(), &path).unwrap_or_else(|_| panic!("{path}"));
            assert_eq!(found.request, operation.request, "{path}");
            assert!(given.iter().zip(["a/b", "c d"]).all(|(found, given)| found == given), "{path}");
            // Those of the same path, each with a method of its own.
            let of_path = || OPERATIONS.iter().filter(|other| other.path_to(&["a/b", "c d"]) == path);
            let allowed: Vec<Method> = of_path().map(Operation::method).collect();
            let allowed: Vec<&str> = allowed.iter().map(allowing).collect();
            for other in methods.iter().filter(|other| of_path().all(|own| own.method() != **other)) {
                let found = find(other, &path).map(|(found, _)| found.request);
                assert_eq!(found, Err(NoOperation::Method(allowed.join(", "))), "{other} {path}");
            }
        }
        for path in
            ["/", "/v1", "/v1/signals", "/v1/signals/acme", "/livez/", "/v1/governors/a/b/c", "/v1/policy/x"]
        {
            assert_eq!(find(&Method::GET, path).err(), Some(NoOperation::NotFound), "{path}");
        }
        assert_eq!(find(&Method::GET, "/v1/signals/acme/%zz").err(), Some(NoOperation::Encoding));
    }

    /// Whoever may order needs a role, and says why.
    #[test]
    fn what_changes_something_needs_a_role_and_a_reason() {
        for operation in &OPERATIONS {
            let is_order = !matches!(operation.body, Body::Nothing | Body::Token);
            let needed = match operation.need {
                Need::Role(role) => role,
                Need::Nothing | Need::LoopbackOr(_) => Role::Viewer,
            };
            assert_eq!(is_order, needed > Role::Viewer, "{}", operation.request);
            assert!(!is_order || operation.method() == Method::POST, "{}", operation.request);
        }
    }
}
