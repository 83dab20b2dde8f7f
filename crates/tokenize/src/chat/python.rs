//! What templates expect of Python that the engine does not have.

use jiff::Zoned;
use jiff::civil::DateTime;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::REFUSED;

/// Adds the functions, filters, tests and methods.
pub(super) fn install(environment: &mut Environment<'static>) {
    minijinja_contrib::add_to_environment(environment);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", super::json::tojson);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("{REFUSED}{message}"),
            ))
        },
    );
    // In Python a string is a sequence and iterable, and a mapping is a sequence to Jinja.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::String | ValueKind::Map
        )
    });
    environment.add_test("iterable", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq
                | ValueKind::String
                | ValueKind::Map
                | ValueKind::Iterable
                | ValueKind::Undefined
        )
    });
}

/// `strftime_now`: the local time, or the one given, by C's format.
pub(super) fn strftime(now: Option<DateTime>, format: &str) -> Result<String, Error> {
    let now = now.unwrap_or_else(|| Zoned::now().datetime());
    jiff::fmt::strtime::format(format, now)
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
}

/// Methods of Python's types.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match value.as_str() {
        Some(text) => string_method(text, name, args)?,
        None => None,
    };
    match own {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn strings(parts: &[&str]) -> Value {
    parts
        .iter()
        .map(|part| Value::from(*part))
        .collect::<Vec<_>>()
        .into()
}

fn text_argument<'a>(method: &str, args: &'a [Value], i: usize) -> Result<&'a str, Error> {
    args.get(i).and_then(Value::as_str).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("str.{method} takes a string"),
        )
    })
}

/// String methods beyond those of the engine's own compatibility layer.
fn string_method(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let text_arg = |i: usize| text_argument(name, args, i);
    let width = || -> Result<usize, Error> {
        let width: i64 = args
            .first()
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::MissingArgument,
                    format!("str.{name} takes a width"),
                )
            })?
            .try_into()?;
        Ok(usize::try_from(width).unwrap_or(0).min(10_000))
    };
    let missing = text.chars().count();
    let pad = |count: usize| -> Result<String, Error> {
        let fill = if args.len() > 1 { text_arg(1)? } else { " " };
        Ok(fill.repeat(count))
    };
    Ok(Some(match name {
        "removeprefix" => text.strip_prefix(text_arg(0)?).unwrap_or(text).into(),
        "removesuffix" => text.strip_suffix(text_arg(0)?).unwrap_or(text).into(),
        "partition" => {
            let separator = text_arg(0)?;
            match text.split_once(separator) {
                Some((before, after)) => strings(&[before, separator, after]),
                None => strings(&[text, "", ""]),
            }
        }
        "rpartition" => {
            let separator = text_arg(0)?;
            match text.rsplit_once(separator) {
                Some((before, after)) => strings(&[before, separator, after]),
                None => strings(&["", "", text]),
            }
        }
        "rsplit" if args.len() == 2 && !args[0].is_none() => {
            let count: i64 = args[1].clone().try_into()?;
            if count < 0 {
                return Ok(None);
            }
            let mut parts: Vec<&str> = text.rsplitn(count as usize + 1, text_arg(0)?).collect();
            parts.reverse();
            strings(&parts)
        }
        "ljust" => {
            let padding = pad(width()?.saturating_sub(missing))?;
            format!("{text}{padding}").into()
        }
        "rjust" => {
            let padding = pad(width()?.saturating_sub(missing))?;
            format!("{padding}{text}").into()
        }
        "zfill" => {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => (&text[..1], digits),
                None => ("", text),
            };
            let zeros = "0".repeat(width()?.saturating_sub(missing));
            format!("{sign}{zeros}{digits}").into()
        }
        "casefold" => text.to_lowercase().into(),
        "isdecimal" | "isdigit" if !text.is_ascii() => {
            Value::from(!text.is_empty() && text.chars().all(char::is_numeric))
        }
        _ => return Ok(None),
    }))
}
