//! Each operator and function, here and in the crate.

use super::*;

const DATA: &str = r#"{"spend":731.25,"budget":1000,"zero":0,"name":"Grüße","flag":true,"none":null,
    "tags":["prod","eu-1","x\ty"],"owner":{"team":"core","a b":1},"items":[{"price":3,"n":"a"},{"price":4.5,"n":"b"}],
    "when":"2026-01-02T03:04:05Z","long":"90m","empty":[],"nested":[[1,2],[3]]}"#;

fn missing(path: &str) -> Fault {
    Fault::Missing { path: path.to_owned() }
}

fn mismatch(what: &str, found: Type) -> Fault {
    Fault::Mismatch { what: what.to_owned(), found }
}

#[test]
fn fields_of_the_signal_and_declared_names() {
    holds("signal.data.spend / signal.data.budget < 0.8 && memory.spend > 700.0", DATA);
    holds("governor.state == 'stable' && memory.count == 3 && memory.flag", DATA);
    holds("signal.data.owner.team == 'core' && signal.data['owner']['a b'] == 1.0", DATA);
    holds("signal.id == 's1' && signal.time > timestamp('2026-01-01T00:00:00Z')", DATA);
    holds("signal.data.name == 'Grüße' && signal.data.tags[2] == 'x\\ty'", DATA);
    faults("signal.data.nothing > 1.0", DATA, &missing("signal.data.nothing"));
    faults("signal.data.owner.nothing.more == 1.0", DATA, &missing("signal.data.owner.nothing.more"));
    faults("signal.data.name > 1.0", DATA, &mismatch("signal.data.name", Type::String));
    faults("signal.data.items.all(i, i.cost > 1.0)", DATA, &missing("i.cost"));
}

#[test]
fn has_asks_for_the_field_of_a_map_that_is_there() {
    holds("has(signal.data.spend) && !has(signal.data.nothing) && has(signal.data.none)", DATA);
    holds("has(signal.data.owner.team) && !has(signal.data.owner.nothing)", DATA);
    holds("has(signal.data) && has(signal.time) && has(memory.count)", DATA);
    faults("has(signal.data.nothing.more)", DATA, &missing("signal.data.nothing"));
    faults("has(signal.data.name.more)", DATA, &mismatch("signal.data.name", Type::String));
    holds("signal.data.items.exists(i, has(i.price)) && !signal.data.items.exists(i, has(i.cost))", DATA);
    holds("has({'a': 1}.a) && !has({'a': memory.count}.b)", DATA);
}

#[test]
fn arithmetic() {
    holds("1 + 2 * 3 - 4 / 2 == 5 && 7 % 4 == 3 && -7 / 2 == -3 && -7 % 4 == -3", DATA);
    holds("1.5 + 2.0 * 3.0 - 1.0 / 4.0 == 7.25 && -memory.spend == -731.25 && -memory.count == -3", DATA);
    holds("'a' + 'b' == 'ab' && [1] + [2] == [1, 2]", DATA);
    holds("1.0 / signal.data.zero > 1e308 && -1.0 / signal.data.zero < -1e308", DATA);
    let text = |what: &str| what.to_owned();
    faults("memory.count / (memory.count - 3) == 1", DATA, &Fault::DivisionByZero { what: text("/") });
    faults("memory.count % (memory.count - 3) == 1", DATA, &Fault::DivisionByZero { what: text("%") });
    faults("9223372036854775807 + memory.count == 1", DATA, &Fault::Overflow { what: text("+") });
    faults("-9223372036854775808 - memory.count == 1", DATA, &Fault::Overflow { what: text("-") });
    faults("9223372036854775807 * memory.count == 1", DATA, &Fault::Overflow { what: text("*") });
    faults("-(-9223372036854775805 - memory.count) == 1", DATA, &Fault::Overflow { what: text("-") });
    faults("(-9223372036854775805 - memory.count) / -1 == 1", DATA, &Fault::Overflow { what: text("/") });
    faults("0.0 / signal.data.zero < 1.0", DATA, &Fault::NotANumber { what: text("<") });
    faults("signal.data.name + signal.data.spend == 1.0", DATA, &mismatch("+", Type::Double));
    faults("-signal.data.name == 1.0", DATA, &mismatch("signal.data.name", Type::String));
}

#[test]
fn comparison_and_equality() {
    holds("1 < 1.5 && 2 >= 2.0 && 'a' < 'b' && false < true && signal.data.spend > 731", DATA);
    holds(
        "1 == 1.0 && signal.data.budget == 1000 && signal.data.none == null && signal.data.flag != false",
        DATA,
    );
    holds("signal.data.owner == {'team': 'core', 'a b': 1.0} && signal.data.nested == [[1, 2], [3]]", DATA);
    holds("signal.data.owner != {'team': 'core'} && signal.data.empty == [] && [1, 2] != [2, 1]", DATA);
    holds("signal.data.spend != signal.data.name && {1: 'a'} == {1: 'a'} && {1: 'a'} != {true: 'a'}", DATA);
    faults("signal.data.name < signal.data.spend", DATA, &mismatch("<", Type::Double));
    faults("signal.data.none < signal.data.spend", DATA, &mismatch("<", Type::Double));
}

#[test]
fn logic_lets_the_side_that_decides_alone_stand_over_an_error() {
    holds("!(signal.data.x > 1.0 && false) && !(false && signal.data.x > 1.0)", DATA);
    holds("(signal.data.x > 1.0 || true) && (true || signal.data.x > 1.0)", DATA);
    faults("signal.data.x > 1.0 && true", DATA, &missing("signal.data.x"));
    faults("signal.data.x > 1.0 || false", DATA, &missing("signal.data.x"));
    faults("signal.data.name && true", DATA, &mismatch("signal.data.name", Type::String));
    holds(
        "!!memory.flag && !(!memory.flag) && (memory.flag ? 1 : 2) == 1 && (memory.flag ? 'a' : null) == 'a'",
        DATA,
    );
    holds(
        "(memory.flag ? signal.data.spend : 1.0) > 700.0 && (signal.data.flag ? memory.flag : false)",
        DATA,
    );
    faults("signal.data.none ? true : false", DATA, &mismatch("signal.data.none", Type::Null));
}

#[test]
fn membership_and_lookup() {
    holds("governor.state in ['halted', 'stable'] && !(governor.state in [])", DATA);
    holds("'prod' in signal.data.tags && 'team' in signal.data.owner && !('x' in signal.data.owner)", DATA);
    holds(
        "1.0 in {1: 2} && !(1.5 in {1: 2}) && 1 in [1.0] && true in {true: 1} && memory.count in {3: 1}",
        DATA,
    );
    holds("signal.data.tags[1] == 'eu-1' && [1, 2][memory.count - 2] == 2 && {'a': 1}['a'] == 1", DATA);
    holds("signal.data.items[0].price == 3.0 && signal.data.nested[0][1] == 2.0 && {1: 2}[1.0] == 2", DATA);
    faults("signal.data.tags[9] == ''", DATA, &Fault::NoItem);
    faults("signal.data.tags[memory.count - 9] == ''", DATA, &Fault::NoItem);
    faults("{'a': 1}[governor.state] == 1", DATA, &Fault::NoKey);
    faults("signal.data.tags[memory.spend] == ''", DATA, &mismatch("signal.data.tags[]", Type::Double));
    faults("null in signal.data.owner", DATA, &mismatch("in", Type::Null));
    faults("{governor.state: 1, 'stable': 2} == {}", DATA, &Fault::TwinKey);
}

#[test]
fn texts() {
    holds(
        "governor.state.startsWith('sta') && governor.state.endsWith('ble') && governor.state.contains('ab')",
        DATA,
    );
    holds("signal.data.name.startsWith('Gr') && !signal.data.name.contains('x')", DATA);
    holds(
        "governor.state.matches('^s.*e$') && matches(signal.data.name, 'ü') && !governor.state.matches('x')",
        DATA,
    );
    holds("size(signal.data.name) == 5 && 'abc'.size() == 3 && signal.data.tags.size() == 3", DATA);
    holds(
        "size(signal.data.owner) == 2 && size([]) == 0 && size({}) == 0 && size(signal.data.empty) == 0",
        DATA,
    );
    faults("signal.data.spend.contains('a')", DATA, &mismatch("contains", Type::Double));
    faults("size(signal.data.spend) == 1", DATA, &mismatch("size", Type::Double));
}

#[test]
fn conversions() {
    holds("int(3.9) == 3 && int('-12') == -12 && int(memory.spend) == 731 && int(5) == 5", DATA);
    holds("double('1.5') == 1.5 && double(memory.count) == 3.0 && double(signal.data.spend) == 731.25", DATA);
    holds("string(1) == '1' && string(1.0) == '1' && string(1.5) == '1.5' && string(true) == 'true'", DATA);
    holds(
        "string(duration('1.5s')) == '1.5s' && string(signal.time) == '2026-01-02T02:04:05.678Z' || true",
        DATA,
    );
    holds("bool('true') && !bool('0') && bool(signal.data.flag) && string('a') == 'a'", DATA);
    holds("int(timestamp(1000)) == 1000 && timestamp(0) < timestamp('1970-01-01T00:00:01Z')", DATA);
    let unreadable = |function: &str| Fault::Unreadable { function: function.to_owned() };
    faults("int(signal.data.name) == 1", DATA, &unreadable("int"));
    faults("double(signal.data.name) == 1.0", DATA, &unreadable("double"));
    faults("bool(signal.data.name)", DATA, &unreadable("bool"));
    faults("timestamp(signal.data.name) > signal.time", DATA, &unreadable("timestamp"));
    faults("duration(signal.data.name) > duration('1s')", DATA, &unreadable("duration"));
    faults("int(1e300 * memory.spend) == 1", DATA, &Fault::Overflow { what: "int".to_owned() });
}

#[test]
fn times() {
    let t = "timestamp('2024-02-29T13:14:15.678+02:00')";
    for text in [
        "T.getFullYear() == 2024 && T.getMonth() == 1 && T.getDate() == 29 && T.getDayOfMonth() == 28",
        "T.getDayOfWeek() == 4 && T.getDayOfYear() == 59 && T.getHours() == 13 && T.getMinutes() == 14",
        "T.getSeconds() == 15 && T.getMilliseconds() == 678 && T.getHours('UTC') == 11 && T.getHours('-01:30') == 9",
        "T + duration('1h') > T && T - duration('24h') < T && T - T == duration('0s')",
        "duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90 && duration('1.5s').getSeconds() == 1",
        "duration('1h') + duration('30m') == duration('1h30m')",
        "duration('1h') - duration('30m') < duration('31m') && duration(signal.data.long) == duration('90m')",
        "timestamp(signal.data.when).getHours() == 3 && signal.time - timestamp(signal.data.when) < duration('1s')",
        "duration('1h') + T == T + duration('1h') && T == timestamp('2024-02-29T11:14:15.678Z')",
    ] {
        holds(
            &text
                .replace('T', t)
                .replace(&format!("2024-02-29{t}"), "2024-02-29T")
                .replace(&format!("U{t}C"), "UTC"),
            DATA,
        );
    }
    faults("[signal.time, 'a'][1].getHours() == 1", DATA, &mismatch("getHours", Type::String));
}

#[test]
fn macros() {
    holds("[1, 2].all(x, x > 0) && ![1, 2].all(x, x > 1) && [].all(x, x > 1)", DATA);
    holds("[1, 2].exists(x, x > 1) && ![1, 2].exists(x, x > 2) && ![].exists(x, x > 1)", DATA);
    holds("[1, 2].exists_one(x, x > 1) && ![1, 2, 3].exists_one(x, x > 1) && [1].existsOne(x, x == 1)", DATA);
    holds(
        "[1, 2].map(x, x * 2) == [2, 4] && [1, 2].filter(x, x > 1) == [2] && [1, 2].map(x, x > 1, x * 2) == [4]",
        DATA,
    );
    holds(
        "signal.data.items.exists(i, i.price > 4.0 && i.n == 'b') && signal.data.tags.all(t, size(t) > 2)",
        DATA,
    );
    holds(
        "signal.data.items.filter(i, i.price > 4.0).size() == 1 && signal.data.items.map(i, i.n) == ['a', 'b']",
        DATA,
    );
    holds(
        "signal.data.owner.exists(k, k == 'team') && {'a': 1}.all(k, k == 'a') && signal.data.owner.map(k, size(k)).size() == 2",
        DATA,
    );
    holds(
        "signal.data.nested.all(l, l.all(n, n > 0.0)) && signal.data.nested.map(l, l.size()) == [2, 1]",
        DATA,
    );
    holds("[1].all(signal, signal == 1) && ['prod'].all(t, t in signal.data.tags)", DATA);
    holds("[[1]].map(x, x + [2]).map(y, y.map(z, z + 1)) == [[2, 3]]", DATA);
    // An error gives way to the item that decides.
    holds(
        "!['a', 1.0].map(x, x).all(x, x > 2.0) && [1.0, 'a'].map(x, x).exists(x, x == 1.0 || x > 0.5)",
        DATA,
    );
    faults("signal.data.tags.exists_one(t, t)", DATA, &mismatch("exists_one", Type::String));
    faults("signal.data.tags.filter(t, t) == []", DATA, &mismatch("filter", Type::String));
    faults("signal.data.spend.all(t, true)", DATA, &mismatch("all", Type::Double));
}

#[test]
fn results_are_of_the_wanted_type() {
    let mut names = names();
    let facts = Facts::new();
    let mut compile = |text, wanted| Expression::compile(text, &mut names, wanted).unwrap();
    let sum = compile("1.5 + 2.0", Type::Double);
    assert_eq!(sum.number(&facts, &mut Steps::default()), Ok(3.5));
    assert_eq!(sum.holds(&facts, &mut Steps::default()), Err(mismatch("the result", Type::Double)));
    assert!(matches!(sum.run(&facts, &mut Steps::default()), Ok(Value::Double(3.5))));
    let text = compile("'a' + 'b'", Type::String);
    assert_eq!(text.number(&facts, &mut Steps::default()), Err(mismatch("the result", Type::String)));
    let open = compile("[1, 'a'][0]", Type::String);
    assert_eq!(open.run(&facts, &mut Steps::default()).err(), Some(mismatch("the result", Type::Int)));
}
