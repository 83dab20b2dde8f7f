use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A function that a model may ask to be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// What it does, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON schema of its arguments, which are an object; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

/// Whether functions are called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As the model thinks right.
    #[default]
    Auto,
    /// None is.
    None,
    /// One at least is.
    Required,
    /// The one of this name is.
    Named(String),
}

/// The functions of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tools {
    /// What there is to be called.
    pub list: Vec<Tool>,
    /// Whether it is.
    #[serde(default)]
    pub choice: ToolChoice,
    /// Whether several may be called at once.
    #[serde(default)]
    pub parallel: bool,
}

impl Tools {
    /// Whether something is to be called.
    pub fn must_call(&self) -> bool {
        matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_))
    }

    /// Whether nothing can be called.
    pub fn is_off(&self) -> bool {
        self.list.is_empty() || self.choice == ToolChoice::None
    }
}

/// A function that a model asked to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// By which the result refers to it.
    pub id: String,
    /// The function.
    pub name: String,
    /// A JSON object as text, as far as the model wrote it.
    pub arguments: String,
}
