//! Tables of what CEL's specification says, where the crate `cel` is no judge.

use super::*;

/// What the text gives, as text; a fault in words.
fn shown(text: &str, data: &str) -> String {
    match run(text, &serde_json::Value::from(data).to_string()) {
        Ok(cel::Value::String(text)) => text.to_string(),
        Ok(cel::Value::Int(int)) => int.to_string(),
        Ok(cel::Value::Bool(bool)) => bool.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(fault) => fault.to_string(),
    }
}

const NOT_READ: &str = "`duration` cannot read what it was given";

#[test]
fn durations_are_read_as_a_whole() {
    for (text, seconds) in [
        ("0", "0s"),
        ("-0", "0s"),
        ("+0", "0s"),
        ("0s", "0s"),
        ("0h0m0s", "0s"),
        ("1h", "3600s"),
        ("+1h", "3600s"),
        ("-1h", "-3600s"),
        ("-1.5h", "-5400s"),
        ("1h30m", "5400s"),
        ("1h34us", "3600.000034s"),
        ("-1h30m", "-5400s"),
        ("1.5h30m", "7200s"),
        ("1m1ms", "60.001s"),
        ("-23.4s", "-23.4s"),
        (".5s", "0.5s"),
        ("1.s", "1s"),
        ("0.1h", "360s"),
        ("1.000000001s", "1.000000001s"),
        ("1.0000000019s", "1.000000001s"),
        ("-0.9ns", "0s"),
        ("1ns1us1ms", "0.001001001s"),
        ("0.000000000000000000000000000001h", "0s"),
        ("000000000000000000000000000000000000000000001s", "1s"),
        ("9223372036854775808ns", "9223372036.854775808s"),
        ("2562048h", "9223372800s"),
        ("315576000000s", "315576000000s"),
        ("-315576000000s", "-315576000000s"),
        ("87660000h", "315576000000s"),
    ] {
        assert_eq!(shown("string(duration(signal.data))", text), seconds, "{text:?}");
    }
    for text in [
        "",
        "+",
        "-",
        ".",
        ".s",
        "1",
        "00",
        "0.0",
        "1h30",
        "1month",
        "1m1",
        "1mo",
        "1h ",
        " 1h",
        "1 h",
        "1h 30m",
        "1s foo",
        "1hs",
        "1d",
        "1w",
        "1y",
        "1H",
        "1Ms",
        "1e3s",
        "1s1e",
        "--1s",
        "+-1s",
        "1h-30m",
        "infs",
        "nans",
        "1,5s",
        "١s",
        "1µs",
        "1_000s",
        "315576000000.000000001s",
        "315576000001s",
        "-315576000001s",
        "87660000h1ns",
        "99999999999999999999999999999999999999999999h",
        "340282366920938463463374607431768211456ns",
    ] {
        assert_eq!(shown("string(duration(signal.data))", text), NOT_READ, "{text:?}");
    }
}

#[test]
fn durations_hold_ten_thousand_years() {
    let never = "timestamp('9999-12-31T23:59:59Z')";
    let ever = "timestamp('0001-01-01T00:00:00Z')";
    for (text, gives) in [
        (format!("string({never} - {ever})"), "315537897599s"),
        (format!("string({ever} - {never})"), "-315537897599s"),
        (format!("string({never} - signal.time > duration('720h'))"), "true"),
        (format!("string(signal.time - {ever} > duration('720h'))"), "true"),
        (format!("string({ever} + ({never} - {ever}) == {never})"), "true"),
        (format!("({never} - {ever}).getHours()"), "87649415"),
        (format!("({never} - {ever}).getSeconds()"), "315537897599"),
        ("string(timestamp(signal.data) + duration('1ns'))".into(), "`+`: the result is out of range"),
        ("string(timestamp(signal.data) - duration('87660000h'))".into(), "`-`: the result is out of range"),
        (
            format!("string((timestamp(signal.data) - {ever}) + (timestamp(signal.data) - {ever}))"),
            "`+`: the result is out of range",
        ),
        (
            format!("string(({ever} - timestamp(signal.data)) - (timestamp(signal.data) - {ever}))"),
            "`-`: the result is out of range",
        ),
        ("duration('1.234s').getMilliseconds()".into(), "234"),
        ("duration('-1.234s').getMilliseconds()".into(), "-234"),
        ("duration('10000s').getHours()".into(), "2"),
        ("duration('3730s').getMinutes()".into(), "62"),
        ("duration('-90s').getMinutes()".into(), "-1"),
    ] {
        assert_eq!(shown(&text, "9999-12-31T23:59:59.999999999Z"), gives, "{text}");
    }
}

#[test]
fn timestamps_are_those_that_time_takes() {
    for (text, utc) in [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.1Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z"),
        ("2026-01-02T03:04:05+23:59", "2026-01-01T03:05:05Z"),
        ("2026-01-02T03:04:05-23:59", "2026-01-03T03:03:05Z"),
        ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00-01:00", "0001-01-01T01:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("9999-12-31T23:59:59+01:00", "9999-12-31T22:59:59Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"),
        ("1990-12-31T23:59:60Z", "1991-01-01T00:00:00Z"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
        ("2015-06-30T23:59:60Z", "2015-07-01T00:00:00Z"),
    ] {
        assert_eq!(shown("string(timestamp(signal.data))", text), utc, "{text:?}");
        let written = format!("string(timestamp('{text}'))");
        assert_eq!(shown(&written, ""), utc, "{text:?}, written out");
    }
    for text in [
        "",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "10000-01-01T00:00:00Z",
        "+2026-01-02T03:04:05Z",
        "-0001-01-02T03:04:05Z",
        "2026-01-02 03:04:05Z",
        "2026-01-02_03:04:05Z",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+23:60",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+01",
        "2026-01-02T03:04:05+1:00",
        "2026-01-02T03:04:05\u{2212}01:00",
        "2026-01-02T03:04:05 Z",
        "2026-01-02T03:04:05Z ",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z[UTC]",
        "2026-01-02T03:04:60Z",
        "2026-01-02T23:59:60Z",
        "1990-12-31T23:59:61Z",
        "1990-12-31T23:59:60+01:00",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "२०२६-01-02T03:04:05Z",
        "1767323045",
    ] {
        let why = "`timestamp` cannot read what it was given";
        assert_eq!(shown("string(timestamp(signal.data))", text), why, "{text:?}");
    }
    for (seconds, gives) in [
        ("-62135596800", "0001-01-01T00:00:00Z"),
        ("253402300799", "9999-12-31T23:59:59Z"),
        ("-62135596801", "`timestamp`: the result is out of range"),
        ("253402300800", "`timestamp`: the result is out of range"),
    ] {
        assert_eq!(shown("string(timestamp(int(signal.data)))", seconds), gives, "{seconds}");
    }
}

#[test]
fn zones_are_utc_or_an_offset() {
    for (text, gives) in [
        ("timestamp('2009-02-13T23:31:30Z').getDayOfMonth('+11:00')", "13"),
        ("timestamp('2009-02-13T02:00:00Z').getDayOfMonth('-02:30')", "11"),
        ("timestamp('2009-02-13T23:31:30Z').getHours('02:00')", "1"),
        ("timestamp('2009-02-13T23:31:30Z').getSeconds('-00:00')", "30"),
        ("timestamp('2009-02-13T23:31:30Z').getFullYear('-09:30')", "2009"),
        ("timestamp('2009-02-13T23:31:30Z').getDayOfWeek('UTC')", "5"),
        ("timestamp('9999-12-31T23:00:00Z').getFullYear('+02:00')", "10000"),
    ] {
        assert_eq!(shown(text, ""), gives, "{text}");
    }
    for zone in
        ["", "Z", "utc", "Europe/Paris", "+24:00", "+1:00", "+01:+3", "+0100", "+01:60", "--1:00", "+01:00 "]
    {
        let text = format!("signal.time.getHours('{zone}') == 1");
        assert!(Expression::compile(&text, &mut names(), Type::Bool).is_err(), "{zone:?}");
    }
}

#[test]
fn patterns_are_of_ascii_as_in_re2() {
    for (pattern, text, matches) in [
        (r"^\d+$", "0123456789", true),
        (r"^\d+$", "٣", false),
        (r"^[\d.]+$", "1.5", true),
        (r"^[\d.]+$", "१.५", false),
        (r"^\D+$", "٣ü", true),
        (r"^[^\d]+$", "٣", true),
        (r"^[\D]$", "٣", true),
        (r"^\w+$", "a_Z0", true),
        (r"^\w+$", "ü", false),
        (r"^\W$", "ü", true),
        (r"^[\w-]+$", "a-b", true),
        (r"^[\w-]+$", "ä-b", false),
        (r"^\s+$", " \t\n\r\u{c}", true),
        (r"\s", "\u{b}", false),
        (r"\s", "\u{a0}\u{2003}\u{85}", false),
        (r"^\S+$", "\u{a0}", true),
        (r"\bber", "über", true),
        (r"\bber", "uber", false),
        (r"^a\Bü", "aü", false),
        (r"\B\w", "üa", false),
        (r"^\B", "ü", true),
        (r"(?i)^\d{2}$", "42", true),
        (r"(?i)^GRÜSSE$", "grüsse", true),
        (r"^\p{Greek}\pL$", "αб", true),
        (r"^.$", "ü", true),
        (r"a.b", "a\nb", false),
        (r"(?s)a.b", "a\nb", true),
        (r"a$", "a\n", false),
        (r"(?m)^b$", "a\nb\nc", true),
        (r"(?U)^(a+)$", "aa", true),
        (r"[[:digit:]]", "٣", false),
        (r"\x{1F600}", "😀", true),
        ("ubb", "hubba", true),
        ("foo|bar", "", false),
    ] {
        assert_eq!(
            shown(&format!("signal.data.matches(r'{pattern}')"), text),
            matches.to_string(),
            "{pattern} {text:?}"
        );
    }
}

#[test]
fn conversions_at_the_ends_of_their_range() {
    let overflow = |function: &str| format!("`{function}`: the result is out of range");
    let unreadable = |function: &str| format!("`{function}` cannot read what it was given");
    for (text, data, gives) in [
        ("int(double(signal.data))", "9223372036854775807", overflow("int")),
        ("int(double(signal.data))", "-9223372036854775808", overflow("int")),
        ("int(double(signal.data))", "1e99", overflow("int")),
        ("int(double(signal.data))", "NaN", overflow("int")),
        ("int(double(signal.data))", "-7.9", "-7".into()),
        ("int(double(signal.data))", "36028797018963969", "36028797018963968".into()),
        ("int(signal.data)", "9223372036854775808", unreadable("int")),
        ("int(signal.data)", "1.0", unreadable("int")),
        ("int(signal.data)", " 1", unreadable("int")),
        ("string(double(signal.data))", "1e999", overflow("double")),
        ("string(double(signal.data))", "-1e999", overflow("double")),
        ("string(double(signal.data))", "1e-999", "0".into()),
        ("string(double(signal.data))", "-4.5e-3", "-0.0045".into()),
        ("string(double(signal.data) > 1e308)", "Infinity", "true".into()),
        ("bool(signal.data)", "TrUe", unreadable("bool")),
        ("bool(signal.data)", "yes", unreadable("bool")),
        ("9223372036854775807 < 9223372036854775808.0", "", "false".into()),
        ("9223372036854775807 < 9223372036854777857.0", "", "true".into()),
        ("-9223372036854775808 <= -9223372036854775809.0", "", "true".into()),
        ("double(signal.data) == double(signal.data)", "NaN", "false".into()),
        ("1 == double(signal.data)", "NaN", "false".into()),
        ("size(signal.data)", "fiance\u{301}", "7".into()),
        ("[7, 8, 9][double(signal.data)]", "1", "8".into()),
    ] {
        assert_eq!(shown(text, data), gives, "{text} of {data:?}");
    }
}

#[test]
fn a_map_is_not_appended_to_a_list() {
    assert!(Expression::compile("[1] + {'a': 1} == []", &mut names(), Type::Bool).is_err());
    let fault = Fault::Mismatch { what: "+".into(), found: Type::Map };
    assert_eq!(run("signal.data + signal.data == []", "{}"), Err(fault.clone()));
    assert_eq!(run("[1] + signal.data == []", "{}"), Err(fault));
}
