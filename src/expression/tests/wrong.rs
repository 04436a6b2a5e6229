//! Each load error, with its place.

use super::*;

#[track_caller]
fn refused(text: &str, place: (usize, usize), what: &str, hint: &str) {
    let wrong = Expression::compile(text, &mut names(), Type::Bool).err();
    let Some(wrong) = wrong else { panic!("{text}: taken") };
    let hint = if hint.is_empty() { None } else { Some(hint) };
    let found = ((wrong.line, wrong.column), wrong.what.as_str(), wrong.hint.as_deref());
    assert_eq!(found, (place, what, hint), "{text}");
}

const BEGINS: &str = "names begin with `governor.`, `memory.`, `signal.` here";
const MIXED: &str = "ints and doubles do not mix";

#[test]
fn names_that_are_not_declared() {
    refused(
        "signal.dta.x == 1.0",
        (1, 1),
        "unknown name `signal.dta`",
        "the nearest valid name is `signal.data`",
    );
    refused(
        "true &&\n  memory.spent > 1.0",
        (2, 3),
        "unknown name `memory.spent`",
        "the nearest valid name is `memory.spend`",
    );
    refused("'ü' == 'ü' && x", (1, 15), "unknown name `x`", "text needs quotes of its own: `'x'`");
    refused(
        "has(signal.dta)",
        (1, 5),
        "unknown name `signal.dta`",
        "the nearest valid name is `signal.data`",
    );
    refused(
        "has(memory.spent)",
        (1, 5),
        "unknown name `memory.spent`",
        "the nearest valid name is `memory.spend`",
    );
    refused(
        ".signal.data.x",
        (1, 2),
        "unknown name `.signal.data`",
        "the nearest valid name is `signal.data`",
    );
    refused("signal == 1", (1, 1), "unknown name `signal`", "the nearest valid name is `signal.id`");
    refused("[1].all(x, y > 1)", (1, 12), "unknown name `y`", "text needs quotes of its own: `'y'`");
    refused("[1].all(x, true) && x", (1, 21), "unknown name `x`", "text needs quotes of its own: `'x'`");
    refused("id == 'a'", (1, 1), "unknown name `id`", "write `signal.id`");
    refused("data.owner.team == 'a'", (1, 1), "unknown name `data.owner`", "write `signal.data.owner.team`");
    refused("billing", (1, 1), "unknown name `billing`", "text needs quotes of its own: `'billing'`");
    refused("team-a", (1, 1), "unknown name `team`", "text needs quotes of its own: `'team-a'`");
    refused("elsewhere.is.it", (1, 1), "unknown name `elsewhere.is`", BEGINS);
}

#[test]
fn functions_that_are_not_there() {
    refused(
        "size(signal.data.x) > startWith('a')",
        (1, 23),
        "unknown function `startWith`",
        "the nearest valid name is `startsWith`",
    );
    refused(
        "governor.state.startWith('a')",
        (1, 16),
        "unknown function `startWith`",
        "the nearest valid name is `startsWith`",
    );
    refused("type(1) == int", (1, 1), "unknown function `type`", "");
    refused("governor.state.foobarbaz ( 1 )", (1, 16), "unknown function `foobarbaz`", "");
    refused("size()", (1, 1), "`size` is not called like this", "write `size(x)`");
    refused("'a'.int()", (1, 5), "`int` is not called like this", "write `int(x)`");
    refused(
        "startsWith('a', 'b')",
        (1, 1),
        "`startsWith` is not called like this",
        "write `x.startsWith(y)`",
    );
    refused(
        "getHours(signal.time) == 1",
        (1, 1),
        "`getHours` is not called like this",
        "write `x.getHours()`",
    );
    refused("matches('a')", (1, 1), "`matches` is not called like this", "write `x.matches('…')`");
    refused("all([1], true)", (1, 1), "`all` is not called like this", "");
}

#[test]
fn types_that_never_fit() {
    let hint = |int| format!("write `{int}.0`: {MIXED}, and numbers of a signal are doubles");
    refused("signal.data.x * 2 > 1.0", (1, 15), "`*` does not take a JSON value and an int", &hint(2));
    refused("memory.spend * 100 > 1.0", (1, 14), "`*` does not take a double and an int", &hint(100));
    refused("true &&\n 3 + memory.spend > 1.0", (2, 4), "`+` does not take an int and a double", &hint(3));
    let hint = format!("{MIXED}: `double(…)` makes a double of an int");
    refused("memory.spend / memory.count > 1.0", (1, 14), "`/` does not take a double and an int", &hint);
    refused(
        "memory.spend % 2.0 == 1.0",
        (1, 14),
        "`%` does not take a double and a double",
        "`%` takes ints: `int(…)` makes one of a double",
    );
    refused(
        "'a' + memory.spend == ''",
        (1, 5),
        "`+` does not take a string and a double",
        "`string(…)` makes text of a double",
    );
    refused(
        "memory.count + 'a' == ''",
        (1, 14),
        "`+` does not take an int and a string",
        "`string(…)` makes text of an int",
    );
    refused("'a' - 'b' == ''", (1, 5), "`-` does not take a string and a string", "");
    refused("governor.state < 1", (1, 16), "`<` does not compare a string and an int", "");
    refused("null < null", (1, 6), "`<` does not compare a null and a null", "");
    refused("governor.state == 1", (1, 16), "a string never equals an int", "");
    refused("memory.count in ['a']", (1, 14), "an int is never in there", "");
    refused("null in {'a': 1}", (1, 6), "a null is never in there", "");
    refused("1 in 'a'", (1, 3), "`in` takes a list or a map on its right, and this is a string", "");
    refused("governor.state && true", (1, 1), "`&&` takes a bool, and this is a string", "");
    refused("true || memory.count", (1, 9), "`||` takes a bool, and this is an int", "");
    refused("!memory.count", (1, 2), "`!` takes a bool, and this is an int", "");
    refused("-governor.state == 1", (1, 1), "`-` takes a number, and this is a string", "");
    refused("memory.count ? true : false", (1, 1), "`?` takes a bool, and this is an int", "");
    refused("memory.spend.x", (1, 13), "a double has no field `x`", "");
    refused("has(memory.spend.x)", (1, 4), "a double has no fields", "");
    refused("memory.spend[0] == 1", (1, 13), "an int cannot be looked up in a double", "");
    refused("[1]['a'] == 1", (1, 4), "a string cannot be looked up in a list", "");
    refused(
        "size(memory.spend) == 1",
        (1, 6),
        "`size` takes a string or list or map, and this is a double",
        "",
    );
    refused("governor.state.contains(1)", (1, 25), "`contains` takes a string, and this is an int", "");
    refused("memory.count.all(x, true)", (1, 1), "a loop goes over a list or a map, and this is an int", "");
    refused("[1].all(x, x)", (1, 12), "`all` takes a bool, and this is an int", "");
    refused("{1.5: 1} == {}", (1, 2), "a map's key is a bool, an int or a string, and this is a double", "");
    refused("{'a': 1, 'a': 2} == {}", (1, 1), "a map has one key twice", "");
    refused("memory.spend", (1, 7), "the result is a double, wanted is a bool", "");
    refused("1 + 2", (1, 3), "the result is an int, wanted is a bool", "");
}

#[test]
fn what_is_written_out_is_looked_at_once() {
    let hint = "write a time of RFC 3339, such as '2026-01-09T16:00:00Z'";
    refused(
        "signal.time > timestamp('yesterday')",
        (1, 15),
        "`timestamp` cannot read what it is given",
        hint,
    );
    let hint = "write numbers with the units h, m, s, ms, us or ns, such as '1h30m'";
    refused("duration('soon') > duration('1s')", (1, 1), "`duration` cannot read what it is given", hint);
    refused("duration('1month') > duration('1s')", (1, 1), "`duration` cannot read what it is given", hint);
    refused("int('x') == 1", (1, 1), "`int` cannot read what it is given", "");
    refused("'a'.matches('(')", (1, 13), "the pattern is no regular expression, or too large a one", "");
    refused(
        "'a'.matches('(\\\\w{99}){99}')",
        (1, 13),
        "the pattern is no regular expression, or too large a one",
        "",
    );
    refused("'a'.matches(governor.state)", (1, 13), "the pattern of `matches` is not written out", "");
    refused(
        "signal.time.getHours('Mars') == 1",
        (1, 22),
        "the time zone is not known",
        "write 'UTC' or an offset such as '+02:00'",
    );
    refused(
        "signal.time.getHours(governor.state) == 1",
        (1, 22),
        "the time zone is not known",
        "write 'UTC' or an offset such as '+02:00'",
    );
}

#[test]
fn what_is_left_out() {
    refused("1u == 1u", (1, 1), "there are no unsigned ints here", "");
    refused("b'a' == b'a'", (1, 1), "there are no bytes here", "");
    refused("a.B{c: 1} == 1", (1, 4), "messages cannot be made here", "");
    refused("optional.of(1) == 1", (1, 10), "unknown function `of`", "");
}

#[test]
fn syntax() {
    let of = |text: &str| {
        let wrong = Expression::compile(text, &mut names(), Type::Bool).unwrap_err();
        (wrong.line, wrong.column)
    };
    assert_eq!(of("true &&"), (1, 8));
    assert_eq!(of("true\n&& )"), (2, 4));
    assert_eq!(of("'ü' == §"), (1, 8));
    assert_eq!(of("has(memory)"), (1, 5));
    assert_eq!(of(""), (1, 1));
    assert_eq!(of("signal.?data"), (1, 7));
    assert_eq!(of("99999999999999999999 == 1"), (1, 1));
    assert_eq!(of("if == 1"), (1, 1));
    refused("1 +", (1, 4), "the expression ends too early", "");
    let wrong = Expression::compile("sise('a') > 1", &mut names(), Type::Bool).unwrap_err();
    assert_eq!(wrong.to_string(), "1:1: unknown function `sise`\n\nhint: the nearest valid name is `size`");
}

#[test]
fn what_is_written_as_in_a_different_language() {
    let said = |text: &str| {
        let wrong = Expression::compile(text, &mut names(), Type::String).unwrap_err();
        assert!(!wrong.what.contains("expecting") && wrong.what.len() < 80, "{wrong}");
        format!("{}; {}", wrong.what, wrong.hint.unwrap_or_default())
    };
    for text in ["team-a: {{amount}}", "{{amount}}", "${amount}", "spend is {{ signal.data.spend }} now"] {
        assert!(said(text).contains("; this is CEL, not a template"), "{text}: {}", said(text));
    }
    for text in ["governor.state = 'a'", "governor.state == 'a' && signal.id='x'"] {
        assert!(said(text).ends_with("; `==` compares; there is no `=`"), "{text}: {}", said(text));
    }
    assert!(said("The budget is used up").ends_with("`'The budget is used up'`"));
    assert!(said("governor.state == 'a' and signal.id == 'b'").ends_with("write `&&` for `and`"));
    assert!(
        said("governor.state == 'a = b' )").ends_with("join conditions"),
        "what stands in quotes is text"
    );
}

#[test]
fn what_never_has_a_value_is_refused_with_its_place() {
    let cases = [
        ("memory.count / 0 == 1", (1, 14), "`/`: division by zero"),
        ("memory.count % 0 == 1", (1, 14), "`%`: division by zero"),
        ("true || 1 / (2 - 2) == 1", (1, 11), "`/`: division by zero"),
        ("9223372036854775807 + 1 > memory.count", (1, 21), "`+`: the result is out of range"),
        ("-(-9223372036854775808) > memory.count", (1, 1), "`-`: the result is out of range"),
        (
            "signal.time < timestamp('9999-12-31T23:59:59Z') + duration('1s')",
            (1, 49),
            "`+`: the result is out of range",
        ),
        (
            "signal.time - signal.time < duration('80000000h') + duration('80000000h')",
            (1, 51),
            "`+`: the result is out of range",
        ),
        ("[1, 2][2] == memory.count", (1, 7), "the list has no such item"),
        ("{'a': 1}.b == memory.count", (1, 9), "`….b` is not there"),
        ("0.0 / 0.0 < 1.0 && memory.flag", (1, 11), "`<`: not a number cannot be ordered"),
        ("[0, 1].all(x, 1 / x > 0) && memory.flag", (1, 11), "`/`: division by zero"),
        (
            "memory.flag && [1].exists(x, [x].exists(y, int('a' + 'b') == y))",
            (1, 47),
            "`int` cannot read what it was given",
        ),
    ];
    for (text, place, why) in cases {
        refused(text, place, &format!("this never has a value: {why}"), "");
    }
    for text in
        ["memory.count / (memory.count - 3) == 1", "[0, 1].exists(x, 1 / x == 1)", "true || memory.flag"]
    {
        assert!(Expression::compile(text, &mut names(), Type::Bool).is_ok(), "{text}");
    }
}

#[test]
fn patterns_that_re2_does_not_read_so() {
    let what = "the pattern is not in the syntax of RE2";
    let class = "a class inside a class is not of RE2: write `\\[` for the bracket";
    let flags = "the flags of RE2 are `i`, `m`, `s` and `U`";
    let sets = "`&&`, `--` and `~~` in a class are not of RE2: write `\\&`, `\\-` and `\\~`";
    for (pattern, hint) in [
        ("[a[b]]", class),
        ("[a-z&&b]", sets),
        ("[a--b]", sets),
        ("[a~~b]", sets),
        ("(?x)a b", flags),
        ("(?x:a)", flags),
        ("(?-u)a", flags),
        ("(?R)a$", flags),
        ("\\<a", "only `\\b` and `\\B` bind to words"),
        ("\\b{start}a", "only `\\b` and `\\B` bind to words"),
        ("\\u0041", "`\\u` and `\\U` are not of RE2: write `\\x{…}`"),
    ] {
        refused(&format!("signal.id.matches(r'{pattern}')"), (1, 19), what, hint);
    }
}
