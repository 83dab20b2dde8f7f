//! What a text must conform to, compiled for a model's tokens.

use medley_sampling::{Constraint, SamplingError};
use medley_types::{Constraint as Wanted, TextRequest};

use super::TextModel;
use super::dialect::{Answer, Shape, Watch, parameters};
use crate::PipelineError;

/// The constraint of a request, its thoughts and calls included; `thinking` says whether the prompt ends within thoughts.
pub(super) fn constraint(
    model: &TextModel,
    request: &TextRequest,
    thinking: bool,
) -> Result<Option<Constraint>, PipelineError> {
    if let Some(dialect) = &model.dialect
        && (!request.tools.is_off() || thinking || dialect.thinks())
    {
        let answer = match &request.constraint {
            None => Some(Answer::Free),
            Some(Wanted::JsonSchema(schema)) => Some(Answer::Json(schema.clone())),
            Some(Wanted::Regex(pattern)) => Some(Answer::Regex(pattern.clone())),
            Some(Wanted::Grammar(_)) if request.tools.is_off() => None,
            Some(Wanted::Grammar(_)) => {
                return Err(PipelineError::InvalidRequest(
                    "a grammar cannot be followed together with functions".into(),
                ));
            }
        };
        if let Some(answer) = answer {
            let tools = &request.tools;
            let shape = Shape {
                tools,
                answer,
                thinking,
            };
            let Some(grammar) = dialect.grammar(&model.tokenizer, &shape) else {
                return Ok(None);
            };
            return match Constraint::grammar(model.vocabulary()?, &grammar) {
                Ok(constraint) => Ok(Some(constraint)),
                Err(error) => Err(culprit(model, request, error)),
            };
        }
    }
    plain(model, request)
}

/// The constraint of the answer alone.
fn plain(model: &TextModel, request: &TextRequest) -> Result<Option<Constraint>, PipelineError> {
    let Some(wanted) = &request.constraint else {
        return Ok(None);
    };
    let vocabulary = model.vocabulary()?;
    let compiled = match wanted {
        Wanted::JsonSchema(schema) => Constraint::json_schema(vocabulary, schema)?,
        Wanted::Regex(pattern) => Constraint::regex(vocabulary, pattern)?,
        Wanted::Grammar(grammar) => Constraint::grammar(vocabulary, grammar)?,
    };
    Ok(Some(compiled))
}

/// The part of a grammar that is wrong, with its place; the grammar around it is ours.
fn culprit(model: &TextModel, request: &TextRequest, error: SamplingError) -> PipelineError {
    let vocabulary = match model.vocabulary() {
        Ok(vocabulary) => vocabulary,
        Err(error) => return error.into(),
    };
    for (index, tool) in request.tools.list.iter().enumerate() {
        if let Err(problem) = Constraint::json_schema(vocabulary, &parameters(tool)) {
            return PipelineError::ToolSchema {
                index,
                name: tool.name.clone(),
                problem,
            };
        }
    }
    match plain(model, request) {
        Err(error) => error,
        Ok(_) => error.into(),
    }
}

/// How many tokens before its end a text that must call a function is brought to it, so that the call is whole: enough
/// for what the schemas want at least, half the budget at most.
pub(super) fn hurry(request: &TextRequest, budget: usize) -> usize {
    if !request.tools.must_call() {
        return 0;
    }
    let size = |tool: &medley_types::Tool| {
        let schema = tool.parameters.as_ref().map(ToString::to_string);
        tool.name.len() + schema.map_or(0, |s| s.len())
    };
    let largest = request.tools.list.iter().map(size).max().unwrap_or(0);
    (64 + largest / 2).min(budget.div_ceil(2))
}

/// What follows the thoughts of a text that must come to a call.
pub(super) fn watch(model: &TextModel, request: &TextRequest, thinking: bool) -> Option<Watch> {
    let dialect = model.dialect.as_ref()?;
    let must = request.tools.must_call();
    must.then(|| dialect.watch(&model.tokenizer, thinking))
}
