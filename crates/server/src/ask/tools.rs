//! The functions of a request, in the shapes that the three kinds of API have.

use medley_types::{Tool, ToolChoice, Tools};
use serde_json::Value;

use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::generators::Kind;

/// Functions of one request at most.
const MOST: usize = 128;

/// How functions are described and chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `{"type": "function", "function": {"name", "parameters"}}`.
    Chat,
    /// `{"type": "function", "name", "parameters"}`.
    Responses,
    /// `{"name", "input_schema"}`, and `{"type": "any"}` for what others call `required`.
    Anthropic,
}

/// The fields `tools`, `tool_choice` and `parallel_tool_calls`.
pub(crate) fn tools(fields: &Fields, style: Style) -> Answer<Tools> {
    let described = fields.list("tools")?.unwrap_or_default();
    if described.len() > MOST {
        return Err(fields.wrong_value("tools", &format!("at most {MOST} may be given")));
    }
    let mut list: Vec<Tool> = Vec::new();
    for (index, value) in described.iter().enumerate() {
        let item = fields.item("tools", index, value)?;
        // Searched before anything is written; see `responses`.
        let kind = item.text("type")?;
        if style == Style::Responses && kind == Some("file_search") {
            continue;
        }
        let generator = Kind::of_tool(kind).filter(|_| style == Style::Responses);
        let tool = match generator {
            Some(kind) => kind.function(),
            None => tool(&item, style)?,
        };
        if list.iter().any(|other| other.name == tool.name) {
            let problem = format!("two tools are called '{}'", tool.name);
            return Err(fields.wrong_value("tools", &problem));
        }
        list.push(tool);
    }
    let parallel = match style {
        Style::Anthropic => match fields.object("tool_choice")? {
            Some(choice) => !choice.flag("disable_parallel_tool_use")?.unwrap_or(false),
            None => true,
        },
        _ => fields.flag("parallel_tool_calls")?.unwrap_or(true),
    };
    let choice = choice(fields, style, &mut list)?;
    Ok(Tools {
        list,
        choice,
        parallel,
    })
}

fn tool(item: &Fields, style: Style) -> Answer<Tool> {
    let kind = item.text("type")?;
    let known = match (style, kind) {
        (Style::Anthropic, None | Some("custom")) => true,
        (Style::Anthropic, Some(_)) => false,
        (_, kind) => {
            item.required("type")?;
            kind == Some("function")
        }
    };
    if !known {
        return Err(item.wrong_value(
            "type",
            &format!(
                "'{}' is not supported here; {}",
                kind.unwrap_or_default(),
                match style {
                    Style::Responses =>
                        "functions of your own, 'file_search' and the generators of pictures, music, speech and clips are",
                    _ => "only functions of your own are",
                }
            ),
        ));
    }
    let inner;
    let described = if style == Style::Chat {
        item.required("function")?;
        inner = item.object("function")?;
        inner.as_ref().unwrap_or(item)
    } else {
        item
    };
    described.required("name")?;
    let name = described.text("name")?.unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(fits) {
        return Err(described.wrong_value(
            "name",
            "a name has 1 to 128 letters, digits, underscores and dashes",
        ));
    }
    described.flag("strict")?;
    let field = match style {
        Style::Anthropic => "input_schema",
        _ => "parameters",
    };
    if style == Style::Anthropic {
        described.required(field)?;
    }
    Ok(Tool {
        name: name.to_owned(),
        description: described.text("description")?.map(str::to_owned),
        parameters: described.object(field)?.map(Fields::into_value),
    })
}

/// Whether functions are called; one that allows a few leaves the others out of `list`.
fn choice(fields: &Fields, style: Style, list: &mut Vec<Tool>) -> Answer<ToolChoice> {
    let tools = fields.list("tools")?.unwrap_or_default();
    let searches = tools.iter().any(|tool| tool["type"] == "file_search");
    if searches
        && style == Style::Responses
        && list.is_empty()
        && fields.get("tool_choice") != Some(&Value::from("none"))
    {
        return Ok(ToolChoice::Auto);
    }
    let (word, object) = match fields.get("tool_choice") {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) if style != Style::Anthropic => (word.clone(), None),
        Some(Value::Object(_)) => {
            let choice = fields.object("tool_choice")?;
            let choice = choice.ok_or_else(|| fields.wrong_type("tool_choice", "an object"))?;
            choice.required("type")?;
            let kind = choice.text("type")?.unwrap_or_default().to_owned();
            (kind, Some(choice))
        }
        Some(_) => return Err(fields.wrong_type("tool_choice", "a string or an object")),
    };
    let chosen = match (word.as_str(), &object, style) {
        ("auto", _, _) => ToolChoice::Auto,
        ("none", _, _) => return Ok(ToolChoice::None),
        ("file_search", Some(_), Style::Responses) => return Ok(ToolChoice::Auto),
        ("required", None, _) | ("any", Some(_), Style::Anthropic) => ToolChoice::Required,
        ("function", Some(choice), Style::Chat) => {
            choice.required("function")?;
            let function = choice.object("function")?;
            ToolChoice::Named(named(function.as_ref().unwrap_or(choice), list)?)
        }
        ("function", Some(choice), Style::Responses) | ("tool", Some(choice), Style::Anthropic) => {
            ToolChoice::Named(named(choice, list)?)
        }
        (kind, Some(_), Style::Responses) if Kind::of_tool(Some(kind)).is_some() => {
            if !list.iter().any(|tool| tool.name == kind) {
                let problem = format!("'{kind}' is not among the tools");
                return Err(fields.wrong_value("tool_choice", &problem));
            }
            ToolChoice::Named(kind.to_owned())
        }
        ("allowed_tools", Some(choice), Style::Chat | Style::Responses) => {
            allowed(choice, style, list)?
        }
        _ => {
            let shown: String = word.chars().take(80).collect();
            return Err(fields.wrong_value("tool_choice", &format!("'{shown}' is unknown")));
        }
    };
    if list.is_empty() && chosen != ToolChoice::Auto {
        return Err(ApiError::invalid(
            None,
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        )
        .about("tool_choice"));
    }
    Ok(chosen)
}

/// The name in a choice, which must be that of a tool.
fn named(choice: &Fields, list: &[Tool]) -> Answer<String> {
    choice.required("name")?;
    let name = choice.text("name")?.unwrap_or_default();
    match list.iter().any(|tool| tool.name == name) {
        true => Ok(name.to_owned()),
        false => {
            let shown: String = name.chars().take(80).collect();
            Err(choice.wrong_value("name", &format!("no tool is called '{shown}'")))
        }
    }
}

/// Keeps the tools that are allowed.
fn allowed(choice: &Fields, style: Style, list: &mut Vec<Tool>) -> Answer<ToolChoice> {
    let inner = match style {
        Style::Chat => {
            choice.required("allowed_tools")?;
            choice.object("allowed_tools")?
        }
        _ => None,
    };
    let choice = inner.as_ref().unwrap_or(choice);
    let mut names = Vec::new();
    choice.required("tools")?;
    for (index, value) in choice.list("tools")?.unwrap_or_default().iter().enumerate() {
        let item = choice.item("tools", index, value)?;
        let kind = item.text("type")?.unwrap_or_default().to_owned();
        if list.iter().any(|tool| tool.name == kind) && Kind::of_tool(Some(&kind)).is_some() {
            names.push(kind);
            continue;
        }
        let function = item.object("function")?;
        names.push(named(function.as_ref().unwrap_or(&item), list)?);
    }
    list.retain(|tool| names.contains(&tool.name));
    choice.required("mode")?;
    Ok(match choice.word("mode", &["auto", "required"])? {
        Some("required") => ToolChoice::Required,
        _ => ToolChoice::Auto,
    })
}
