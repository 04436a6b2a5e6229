//! Conversions and arithmetic on general values.

use std::borrow::Cow;

use super::fault::{Label, Trip};
use super::kinds::{Kinds, Type};
use super::time;
use super::tree::{Function, Operator, Zone};
use super::value::Value;
use crate::rfc3339;

/// What `+ - * / %` take and give.
pub(super) const ARITHMETIC: [(&[Operator], Kinds, Kinds, Kinds); 9] = {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    [
        (&[Add, Subtract, Multiply, Divide, Remainder], Kinds::INT, Kinds::INT, Kinds::INT),
        (&[Add, Subtract, Multiply, Divide], Kinds::DOUBLE, Kinds::DOUBLE, Kinds::DOUBLE),
        (&[Add], Kinds::STRING, Kinds::STRING, Kinds::STRING),
        (&[Add], Kinds::LIST, Kinds::LIST, Kinds::LIST),
        (&[Add, Subtract], Kinds::TIMESTAMP, Kinds::DURATION, Kinds::TIMESTAMP),
        (&[Add], Kinds::DURATION, Kinds::TIMESTAMP, Kinds::TIMESTAMP),
        (&[Add, Subtract], Kinds::DURATION, Kinds::DURATION, Kinds::DURATION),
        (&[Subtract], Kinds::TIMESTAMP, Kinds::TIMESTAMP, Kinds::DURATION),
        (&[], Kinds::NONE, Kinds::NONE, Kinds::NONE),
    ]
};

/// Whether the operator takes this on its left.
fn takes(operator: Operator, left: Type) -> bool {
    let kinds = Kinds::of(left);
    ARITHMETIC.iter().any(|(operators, left, _, _)| operators.contains(&operator) && left.meets(kinds))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as CEL has it")]
pub(super) fn call(function: Function, label: Label, argument: Value<'_>) -> Result<Value<'_>, Trip> {
    let unreadable = Trip::Unreadable(label);
    let mismatch = Trip::Mismatch(label, argument.of());
    match (function, argument) {
        (Function::Int, same @ Value::Int(_))
        | (Function::Double, same @ Value::Double(_))
        | (Function::String, same @ Value::Text(_))
        | (Function::Bool, same @ Value::Bool(_))
        | (Function::Timestamp, same @ Value::Timestamp(_))
        | (Function::Duration, same @ Value::Duration(_)) => Ok(same),

        (Function::Int, Value::Double(double)) => {
            let fits = double > i64::MIN as f64 && double < i64::MAX as f64;
            if fits { Ok(Value::Int(double as i64)) } else { Err(Trip::Overflow(label)) }
        }
        (Function::Int, Value::Text(text)) => text.parse().map(Value::Int).map_err(|_| unreadable),
        (Function::Int, Value::Timestamp(time)) => Ok(Value::Int(time.timestamp())),

        (Function::Double, Value::Int(int)) => Ok(Value::Double(int as f64)),
        (Function::Double, Value::Text(text)) => {
            let double: f64 = text.parse().map_err(|_| unreadable)?;
            // Infinity may be named; digits beyond the range are no number.
            let named = double.is_infinite() && !text.contains(|char: char| char.is_ascii_digit());
            if double.is_finite() || double.is_nan() || named {
                Ok(Value::Double(double))
            } else {
                Err(Trip::Overflow(label))
            }
        }

        (Function::String, Value::Bool(bool)) => Ok(text(bool.to_string())),
        (Function::String, Value::Int(int)) => Ok(text(int.to_string())),
        (Function::String, Value::Double(double)) => Ok(text(double.to_string())),
        (Function::String, Value::Timestamp(time)) => Ok(text(time::timestamp_text(time))),
        (Function::String, Value::Duration(duration)) => Ok(text(time::duration_text(duration))),

        (Function::Bool, Value::Text(text)) => match &*text {
            "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(unreadable),
        },

        (Function::Timestamp, Value::Text(text)) => {
            rfc3339::parse(&text).map(Value::Timestamp).ok_or(unreadable)
        }
        (Function::Timestamp, Value::Int(seconds)) => {
            time::from_seconds(seconds).map(Value::Timestamp).ok_or(Trip::Overflow(label))
        }
        (Function::Duration, Value::Text(text)) => {
            time::duration(&text).map(Value::Duration).ok_or(unreadable)
        }

        (Function::Part(part, zone), Value::Timestamp(time)) => {
            Ok(Value::Int(time::timestamp_part(part, zone, time)))
        }
        (Function::Part(part, Zone::Own), Value::Duration(duration)) => {
            time::duration_part(part, duration).map(Value::Int).ok_or(mismatch)
        }
        _ => Err(mismatch),
    }
}

fn text(text: String) -> Value<'static> {
    Value::Text(Cow::Owned(text))
}

/// What needs no step for each byte or item.
pub(super) fn arithmetic<'a>(
    operator: Operator,
    label: Label,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<Value<'a>, Trip> {
    let overflow = Trip::Overflow(label);
    Ok(match (operator, left, right) {
        (_, Value::Int(left), Value::Int(right)) => Value::Int(ints(operator, label, *left, *right)?),
        (Operator::Add, Value::Double(left), Value::Double(right)) => Value::Double(left + right),
        (Operator::Subtract, Value::Double(left), Value::Double(right)) => Value::Double(left - right),
        (Operator::Multiply, Value::Double(left), Value::Double(right)) => Value::Double(left * right),
        (Operator::Divide, Value::Double(left), Value::Double(right)) => Value::Double(left / right),
        (Operator::Add, Value::Timestamp(time), Value::Duration(by))
        | (Operator::Add, Value::Duration(by), Value::Timestamp(time)) => {
            Value::Timestamp(time::later(*time, *by).ok_or(overflow)?)
        }
        (Operator::Subtract, Value::Timestamp(time), Value::Duration(by)) => {
            Value::Timestamp(time::earlier(*time, *by).ok_or(overflow)?)
        }
        (Operator::Subtract, Value::Timestamp(left), Value::Timestamp(right)) => {
            Value::Duration(left.signed_duration_since(*right))
        }
        (Operator::Add, Value::Duration(left), Value::Duration(right)) => {
            Value::Duration(time::sum(*left, *right).ok_or(overflow)?)
        }
        (Operator::Subtract, Value::Duration(left), Value::Duration(right)) => {
            Value::Duration(time::difference(*left, *right).ok_or(overflow)?)
        }
        (_, left, right) => {
            let found = if takes(operator, left.of()) { right.of() } else { left.of() };
            return Err(Trip::Mismatch(label, found));
        }
    })
}

fn ints(operator: Operator, label: Label, left: i64, right: i64) -> Result<i64, Trip> {
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide | Operator::Remainder if right == 0 => return Err(Trip::DivisionByZero(label)),
        Operator::Divide => left.checked_div(right),
        Operator::Remainder => left.checked_rem(right),
    };
    result.ok_or(Trip::Overflow(label))
}
