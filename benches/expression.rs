//! What one signal costs the policy engine: reading the fields, then each rule. The crate `cel` runs the same rules over
//! variables that stand ready under their whole names, the fastest way to hand them over.

use std::sync::Arc;

use cel::common::types::{CelBool, CelDouble, CelInt, CelString};
use cel::common::value::Val;
use cel::parser::Parser;
use cel::{Context, Env};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use gemba::expression::{Body, Expression, Facts, Names, Reader, Slot, Steps, Type, Value};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// About 330 bytes, as a cost meter sends them.
const BODY: &[u8] = concat!(
    r#"{"specversion":"1.0","id":"7d9f2c1e-0000002a","source":"/billing/meter","type":"cost.usage","tenant":"tenant-042","#,
    r#""sku":"compute-standard","severity":"info","time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json","#,
    r#""data":{"amount":12.75,"budget":1000,"currency":"EUR","spend":931.25,"hours":7,"tags":["prod","eu-1"]}}"#
)
.as_bytes();

const SMALLEST: &str = "memory.flag";
const RATIO: &str = "signal.data.spend / signal.data.budget > 0.8 && memory.window_sum > 1000.0";
const TEXTS: &str = "signal.data.currency == 'EUR' && governor.state in ['stable', 'degraded'] && \
    signal.data.currency.startsWith('E')";
const TAGS: &str = "signal.data.tags.exists(t, t == 'eu-1')";
const ALL: [&str; 4] = [SMALLEST, RATIO, TEXTS, TAGS];

/// Forty rules of a policy pack, ten of each of four sorts.
fn forty() -> Vec<String> {
    (0..10)
        .flat_map(|n| {
            [
                format!("signal.data.spend / signal.data.budget > 0.{n} && memory.window_sum > {n}000.0"),
                format!("signal.data.amount * {n}.0 + memory.window_sum >= signal.data.budget"),
                format!("governor.state == 'state-{n}' || signal.data.currency in ['EUR', 'U{n}']"),
                format!("has(signal.data.hours) && signal.data.hours > {n} && memory.count < {n}{n}"),
            ]
        })
        .collect()
}

struct Pack {
    expressions: Vec<Expression>,
    reader: Reader,
    given: [(Slot, Value<'static>); 4],
}

fn pack<T: AsRef<str>>(texts: &[T]) -> Pack {
    let mut names = Names::new();
    let given = [
        (names.declare("governor.state", Type::String), Value::Text("stable".into())),
        (names.declare("memory.window_sum", Type::Double), Value::Double(12_345.5)),
        (names.declare("memory.count", Type::Int), Value::Int(3)),
        (names.declare("memory.flag", Type::Bool), Value::Bool(true)),
    ];
    names.document("signal.data");
    let compile = |text: &T| Expression::compile(text.as_ref(), &mut names, Type::Bool).ok();
    let expressions: Vec<Expression> = texts.iter().filter_map(compile).collect();
    assert_eq!(expressions.len(), texts.len());
    let reader = names.reader(expressions.iter().flat_map(|expression| expression.slots().iter().copied()));
    Pack { expressions, reader, given }
}

impl Pack {
    fn facts(&self) -> Facts<'static> {
        let mut facts = Facts::new();
        assert!(self.reader.read(BODY, Body::Signal, &mut facts).is_ok());
        for (slot, value) in &self.given {
            facts.set(*slot, value.clone());
        }
        facts
    }
}

#[divan::bench(args = ALL)]
fn ours(bencher: Bencher, rule: &str) {
    let pack = pack(&[rule]);
    let facts = pack.facts();
    assert_eq!(pack.expressions[0].holds(&facts, &mut Steps::default()), Ok(true));
    bencher.bench_local(|| pack.expressions[0].holds(black_box(&facts), &mut Steps::default()));
}

/// The two fields of the ratio.
#[divan::bench]
fn read_two_fields(bencher: Bencher) {
    let pack = pack(&[RATIO]);
    let mut facts = pack.facts();
    bencher
        .counter(BytesCount::new(BODY.len()))
        .bench_local(|| pack.reader.read(black_box(BODY), Body::Signal, &mut facts));
}

/// The same two with an early field and a late one.
#[divan::bench]
fn read_and_ratio(bencher: Bencher) {
    let pack = pack(&[RATIO]);
    let mut facts = pack.facts();
    bencher.bench_local(|| {
        let read = pack.reader.read(black_box(BODY), Body::Signal, &mut facts);
        read.and_then(|()| pack.expressions[0].holds(&facts, &mut Steps::default()))
    });
}

#[divan::bench]
fn read_for_forty(bencher: Bencher) {
    let pack = pack(&forty());
    let mut facts = pack.facts();
    bencher.bench_local(|| pack.reader.read(black_box(BODY), Body::Signal, &mut facts));
}

#[divan::bench]
fn ours_forty(bencher: Bencher) {
    let pack = pack(&forty());
    let facts = pack.facts();
    bencher.bench_local(|| {
        let holds = |rule: &Expression| rule.holds(black_box(&facts), &mut Steps::default()) == Ok(true);
        pack.expressions.iter().filter(|rule| holds(rule)).count()
    });
}

/// serde_json's tree of the same body.
#[divan::bench]
fn tree_by_serde_json(bencher: Bencher) {
    bencher.bench_local(|| serde_json::from_slice::<serde_json::Value>(black_box(BODY)));
}

fn context() -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::new(Env::stdlib()));
    let text = |text: &'static str| -> Box<dyn Val> { Box::new(CelString::from(text)) };
    let number = |number: f64| -> Box<dyn Val> { Box::new(CelDouble::from(number)) };
    context.add_variable_as_val("governor.state", text("stable"));
    context.add_variable_as_val("memory.window_sum", number(12_345.5));
    context.add_variable_as_val("memory.count", Box::new(CelInt::from(3)));
    context.add_variable_as_val("memory.flag", Box::new(CelBool::from(true)));
    context.add_variable_as_val("signal.data.amount", number(12.75));
    context.add_variable_as_val("signal.data.spend", number(931.25));
    context.add_variable_as_val("signal.data.budget", number(1000.0));
    context.add_variable_as_val("signal.data.hours", number(7.0));
    context.add_variable_as_val("signal.data.currency", text("EUR"));
    let data = std::collections::HashMap::from([("hours", 7.0)]);
    context.add_variable_from_value("signal.data", data);
    context.add_variable_from_value("signal.data.tags", vec!["prod", "eu-1"]);
    context
}

#[divan::bench(args = ALL)]
fn cel(bencher: Bencher, rule: &str) {
    let context = context();
    let Ok(tree) = Parser::new().parse(rule) else { return };
    let holds = || {
        cel::Value::resolve_val(&tree, black_box(&context))
            .is_ok_and(|value| value.downcast_ref() == Some(&CelBool::TRUE))
    };
    assert!(holds());
    bencher.bench_local(holds);
}

#[divan::bench]
fn cel_forty(bencher: Bencher) {
    let context = context();
    let trees: Vec<_> = forty().iter().filter_map(|text| Parser::new().parse(text).ok()).collect();
    bencher.bench_local(|| {
        let holds = |tree: &&cel::IdedExpr| {
            cel::Value::resolve_val(tree, black_box(&context))
                .is_ok_and(|value| value.downcast_ref() == Some(&CelBool::TRUE))
        };
        trees.iter().filter(holds).count()
    });
}
