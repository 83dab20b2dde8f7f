//! The tool `file_search` of responses: carried out before the model writes, which then reads what was found.

use std::sync::Arc;

use axum::http::StatusCode;
use medley_engine::keys::Scope;
use medley_types::{Message, Prompt};
use serde_json::{Value, json};

use super::ask::Ask;
use crate::error::{Answer, ApiError};
use crate::fields::Fields;
use crate::gate::Caller;
use crate::said::new_id;
use crate::service::Service;
use crate::stores::{Searched, look_up};

/// A search that was carried out.
pub(super) struct Lookup {
    pub(super) searched: Searched,
    /// The item that tells of it.
    pub(super) item: Value,
}

impl Lookup {
    /// Puts what was found before what the model reads.
    pub(super) fn show(&self, messages: &mut Vec<Message>) {
        let shown = self.searched.shown();
        match messages
            .first_mut()
            .filter(|message| message.role == "system")
        {
            Some(first) => first.content = format!("{}\n\n{shown}", first.content),
            None => messages.insert(0, Message::new("system", shown)),
        }
    }
}

/// Searches where a request has the tool, and puts what was found before what the model reads.
pub(super) async fn carry_out(
    service: &Arc<Service>,
    fields: &Fields,
    caller: Option<&Caller>,
    ask: &mut Ask,
) -> Answer<Option<Lookup>> {
    let tools = fields.list("tools")?.unwrap_or_default();
    let is_search = |(_, tool): &(usize, &Value)| tool["type"] == "file_search";
    let Some((index, tool)) = tools.iter().enumerate().find(is_search) else {
        return Ok(None);
    };
    if fields.get("tool_choice") == Some(&json!("none")) {
        return Ok(None);
    }
    if caller.is_some_and(|caller| !caller.may(Scope::Documents)) {
        let message = "This key lacks the scope 'documents', which the tool 'file_search' needs.";
        let code = Some("insufficient_permissions");
        return Err(ApiError::refused(StatusCode::FORBIDDEN, code, message));
    }
    let tool = fields.item("tools", index, tool)?;
    let [Prompt::Messages(messages)] = ask.wanted.prompts.as_mut_slice() else {
        return Ok(None);
    };
    let asked = messages.iter().rev().find(|message| message.role == "user");
    let question = asked.map_or_else(String::new, |message| message.content.clone());
    let searched = look_up(service, &tool, question).await?;
    let included = fields.list("include")?.unwrap_or_default();
    let with_results = included.contains(&json!("file_search_call.results"));
    let item = searched.item(&new_id("fs_"), with_results);
    let found = Lookup { searched, item };
    found.show(messages);
    Ok(Some(found))
}
