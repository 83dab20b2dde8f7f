use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use medley_engine::keys::Scope;
use medley_engine::serving::ServingError;
use medley_engine::{EngineError, PipelineError};
use medley_types::{ErrorCode, ErrorReport};
use serde_json::{Value, json};

/// An error as OpenAI's clients read it: a status, and `{"error": {"message", "type", "param", "code"}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) kind: &'static str,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
}

/// What a handler gives.
pub(crate) type Answer<T = Response> = Result<T, ApiError>;

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: String,
    ) -> Self {
        Self {
            status,
            message,
            kind,
            param: None,
            code,
        }
    }

    /// A request that cannot be carried out: 400.
    pub(crate) fn invalid(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, code, message)
    }

    /// A request that is the client's fault, with a status of its own.
    pub(crate) fn refused(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, "invalid_request_error", code, message.into())
    }

    /// The same, with the field that it is about.
    pub(crate) fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// A name that no model has: 404.
    pub(crate) fn no_model(id: &str) -> Self {
        let message = format!(
            "The model '{id}' does not exist or is not on this machine; GET /v1/models lists those that are."
        );
        Self::refused(StatusCode::NOT_FOUND, Some("model_not_found"), message).about("model")
    }

    /// A key that does not let this be done: 403.
    pub(crate) fn lacks(scope: Scope) -> Self {
        let message = format!("This key lacks the scope '{}'.", scope.as_str());
        let code = Some("insufficient_permissions");
        Self::refused(StatusCode::FORBIDDEN, code, message)
    }

    /// Too much at once: 429.
    pub(crate) fn busy() -> Self {
        let message = "Too many requests are waiting; try again in a moment.".to_owned();
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            Some("queue_full"),
            message,
        )
    }

    /// Too much of one client's: 429.
    pub(crate) fn too_many(code: &'static str, message: String) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, "rate_limit_error", Some(code), message)
    }

    /// The same about a field of an object in this field.
    pub(crate) fn within(mut self, field: &str) -> Self {
        self.param = Some(match self.param {
            Some(param) if param != field => format!("{field}.{param}"),
            _ => field.to_owned(),
        });
        self
    }

    /// What the engine says of what is kept.
    pub(crate) fn of_engine(error: &EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::NotFound { what, .. } => {
                let code = match *what {
                    "job" => "job_not_found",
                    "work" => "work_not_found",
                    _ => "not_found",
                };
                Self::refused(StatusCode::NOT_FOUND, Some(code), message)
            }
            EngineError::JobState { .. } => {
                Self::refused(StatusCode::CONFLICT, Some("wrong_job_state"), message)
            }
            EngineError::TooManyJobs { .. } => Self::too_many("too_many_jobs", message),
            EngineError::BadRequest { field, .. } => {
                Self::invalid(Some("invalid_value"), message).about(field)
            }
            _ if error.code() == ErrorCode::DiskFull => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "server_error",
                Some("disk_full"),
                message,
            ),
            _ => Self::of_report(error.report()),
        }
    }

    /// Not now: 503.
    pub(crate) fn unavailable(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            code,
            message.into(),
        )
    }

    /// The server goes down, or its engine has.
    pub(crate) fn gone() -> Self {
        Self::unavailable(None, "The server is shutting down.")
    }

    /// The server's own fault: 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            None,
            message.into(),
        )
    }

    /// What a generator says of a request whose prompt came in the field `prompt`.
    pub(crate) fn of_pipeline(error: &PipelineError, prompt: &str) -> Self {
        let report = error.report();
        match error {
            PipelineError::PromptTooLong { .. } => {
                Self::invalid(Some("context_length_exceeded"), report.message).about(prompt)
            }
            PipelineError::EmptyPrompt | PipelineError::Tokenize(_) => {
                Self::invalid(None, report.message).about(prompt)
            }
            PipelineError::NoTemplate { model } => Self::invalid(
                Some("unsupported_value"),
                format!("{model} has no chat template, so it cannot chat; use /v1/completions."),
            )
            .about("model"),
            _ => Self::of_report(report),
        }
    }

    /// What the engine says of a request whose prompt came in the field `prompt`.
    pub(crate) fn of_serving(error: &ServingError, prompt: &str) -> Self {
        match error {
            ServingError::Gone => Self::gone(),
            ServingError::TooLarge { .. } => {
                Self::invalid(Some("insufficient_memory"), error.to_string()).about("model")
            }
            ServingError::TextTooLarge { .. } => {
                Self::invalid(Some("insufficient_memory"), error.to_string()).about("max_tokens")
            }
            ServingError::Pipeline(error) => Self::of_pipeline(error, prompt),
            _ => Self::of_report(error.report()),
        }
    }

    /// What the engine says.
    pub(crate) fn of_report(report: ErrorReport) -> Self {
        let message = match &report.hint {
            Some(hint) => format!("{} ({hint})", report.message),
            None => report.message,
        };
        if report.code == ErrorCode::InvalidRequest.as_str() {
            Self::invalid(None, message)
        } else {
            Self::internal(message)
        }
    }

    /// The body.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
