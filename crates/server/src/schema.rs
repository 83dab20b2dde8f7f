//! The shapes of requests and answers, as the document of the API has them. They describe; what reads and writes the
//! JSON itself does so field by field, so that its errors name the field.
#![allow(dead_code, reason = "fields stand for those of the JSON")]

use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

macro_rules! shapes {
    ($($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(ToSchema)]
            pub(crate) struct $name { $($(#[$note])* $field: $kind,)* }
        )*

        /// All of them.
        #[derive(OpenApi)]
        #[openapi(components(schemas($($name),*)))]
        pub(crate) struct Schemas;
    };
}

shapes! {
    /// Why a request was refused, or failed.
    Failure { error: FailureDetail, }
    FailureDetail { message: String, r#type: String, param: Option<String>, code: Option<String>, }
    Status { status: String, }
    Model { id: String, object: String, created: u64, owned_by: String, }
    ModelList { object: String, data: Vec<Model>, }
    Message { role: String, content: Value, }
    ChatRequest {
        model: String,
        messages: Vec<Message>,
        max_completion_tokens: Option<u32>,
        temperature: Option<f64>,
        top_p: Option<f64>,
        n: Option<u32>,
        seed: Option<i64>,
        stop: Option<Value>,
        stream: Option<bool>,
        logprobs: Option<bool>,
        top_logprobs: Option<u32>,
        response_format: Option<Value>,
        frequency_penalty: Option<f64>,
        presence_penalty: Option<f64>,
    }
    CompletionRequest {
        model: String,
        prompt: Value,
        max_tokens: Option<u32>,
        temperature: Option<f64>,
        top_p: Option<f64>,
        n: Option<u32>,
        seed: Option<i64>,
        stop: Option<Value>,
        stream: Option<bool>,
        logprobs: Option<u32>,
        echo: Option<bool>,
    }
    Completion { id: String, object: String, created: u64, model: String, choices: Vec<Value>, usage: Value, }
    EmbeddingRequest { model: String, input: Value, encoding_format: Option<String>, dimensions: Option<u32>, }
    EmbeddingList { object: String, data: Vec<Value>, model: String, usage: Value, }
    ImageGeneration {
        prompt: String,
        model: Option<String>,
        n: Option<u32>,
        /// WIDTHxHEIGHT in pixels, or auto.
        size: Option<String>,
        /// low, medium or high: half, once or twice the model's own steps.
        quality: Option<String>,
        background: Option<String>,
        output_format: Option<String>,
        output_compression: Option<u32>,
        response_format: Option<String>,
        stream: Option<bool>,
        partial_images: Option<u32>,
        negative_prompt: Option<String>,
        seed: Option<u32>,
        steps: Option<u32>,
        guidance: Option<f64>,
        sampler: Option<String>,
        upscale: Option<u32>,
    }
    ImageEdit {
        #[schema(format = Binary)]
        image: String,
        /// What is transparent is painted anew.
        #[schema(format = Binary)]
        mask: Option<String>,
        prompt: String,
        model: Option<String>,
        n: Option<u32>,
        size: Option<String>,
        quality: Option<String>,
        output_format: Option<String>,
        response_format: Option<String>,
        /// How much is made anew: above 0 (hardly anything) to 1 (all).
        strength: Option<f64>,
        seed: Option<u32>,
        steps: Option<u32>,
        guidance: Option<f64>,
    }
    ImageList { created: u64, data: Vec<Value>, background: String, output_format: String, size: String, }
    JobRequest {
        /// A recipe: `medium` says which.
        request: Value,
        /// Higher ones go first.
        priority: Option<i64>,
    }
    Progress { stage: String, done: u64, total: u64, }
    JobError { code: String, message: String, }
    Job {
        id: String,
        object: String,
        medium: String,
        kind: String,
        /// queued, running, done, failed or cancelled.
        state: String,
        priority: i64,
        model: String,
        request: Value,
        created_at: u64,
        started_at: Option<u64>,
        finished_at: Option<u64>,
        progress: Option<Progress>,
        works: Vec<String>,
        error: Option<JobError>,
    }
    JobList { object: String, data: Vec<Job>, has_more: bool, }
    Work {
        id: String,
        object: String,
        medium: String,
        model: String,
        model_sha256: Option<String>,
        title: String,
        prompt: String,
        recipe: Value,
        created_at: u64,
        mime: String,
        bytes: u64,
        sha256: String,
        width: Option<u32>,
        height: Option<u32>,
        tags: Vec<String>,
        timings: Value,
        job: Option<String>,
    }
    WorkList { object: String, data: Vec<Work>, has_more: bool, }
    WorkChange { title: Option<String>, tags: Option<Vec<String>>, }
    Deleted { id: String, object: String, deleted: bool, }
    CatalogEntry {
        name: String,
        medium: String,
        architecture: String,
        installed: bool,
        loaded: bool,
        memory_bytes: u64,
        download_bytes: u64,
        licence: String,
        bundled: bool,
    }
    Catalog { object: String, data: Vec<CatalogEntry>, }
    Evicted { name: String, loaded: bool, }
    Held { id: String, memory_bytes: u64, idle: bool, last_used: u64, }
    Memory { budget_bytes: Option<u64>, used_bytes: u64, models: Vec<Held>, }
}
