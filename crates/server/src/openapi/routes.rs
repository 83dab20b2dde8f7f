//! The routes, as the document tells of them.

/// One route. A schema's name stands for its JSON; other answers are types of files.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) body: Option<&'static str>,
    pub(super) answer: &'static str,
    pub(super) query: &'static [&'static str],
}

pub(super) const fn route(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answer: &'static str,
) -> Route {
    Route {
        method,
        path,
        summary,
        body: None,
        answer,
        query: &[],
    }
}

impl Route {
    const fn takes(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    const fn asks(mut self, query: &'static [&'static str]) -> Self {
        self.query = query;
        self
    }
}

/// What is said of a route whose generators are not there yet.
pub(super) const NOT_YET: &str = "Not served yet: answers 501";

const EVENTS: &str = "text/event-stream";

pub(super) const ROUTES: &[Route] = &[
    route("get", "/health", "Whether the server runs", "Status"),
    route(
        "get",
        "/ready",
        "Whether requests can be carried out",
        "Status",
    ),
    route(
        "get",
        "/metrics",
        "Measurements for Prometheus",
        "application/openmetrics-text",
    ),
    route("get", "/openapi.json", "This document", "application/json"),
    route(
        "get",
        "/v1/models",
        "The models that may be asked",
        "ModelList",
    ),
    route("get", "/v1/models/{id}", "One model", "Model"),
    route(
        "post",
        "/v1/chat/completions",
        "A model's turn of a conversation",
        "Completion",
    )
    .takes("ChatRequest"),
    route(
        "post",
        "/v1/completions",
        "A text that goes on",
        "Completion",
    )
    .takes("CompletionRequest"),
    route(
        "post",
        "/v1/responses",
        "An answer that is kept, and that others go on from",
        "Response",
    )
    .takes("ResponseRequest"),
    route("get", "/v1/responses/{id}", "One answer", "Response")
        .asks(&["stream", "starting_after"]),
    route(
        "delete",
        "/v1/responses/{id}",
        "Delete an answer",
        "Deleted",
    ),
    route(
        "post",
        "/v1/responses/{id}/cancel",
        "End an answer that is written in the background",
        "Response",
    ),
    route(
        "get",
        "/v1/responses/{id}/input_items",
        "What an answer was written from",
        "ItemList",
    )
    .asks(&["limit", "order", "after"]),
    route(
        "post",
        "/v1/responses/input_tokens",
        "How many tokens a request has",
        "TokenCount",
    )
    .takes("ResponseRequest"),
    route(
        "post",
        "/v1/messages",
        "A model's turn, in Anthropic's shape",
        "AnthropicMessage",
    )
    .takes("MessagesRequest"),
    route(
        "post",
        "/v1/messages/count_tokens",
        "How many tokens a conversation has",
        "MessageTokens",
    )
    .takes("CountRequest"),
    route(
        "post",
        "/v1/rerank",
        "Which documents fit a query best",
        "RankedList",
    )
    .takes("RerankRequest"),
    route(
        "post",
        "/v1/links",
        "An address of a file that opens without the key, for a while",
        "Link",
    )
    .takes("LinkRequest"),
    route(
        "post",
        "/v1/route",
        "Which medium a prompt asks for",
        "RoutedPrompt",
    )
    .takes("RouteRequest"),
    route(
        "post",
        "/v1/inspect/text",
        "What a language model makes of a text",
        "Inspection",
    )
    .takes("InspectionRequest"),
    route(
        "post",
        "/v1/embeddings",
        "Vectors of texts",
        "EmbeddingList",
    )
    .takes("EmbeddingRequest"),
    route(
        "post",
        "/v1/images/generations",
        "Pictures from a prompt",
        "ImageList",
    )
    .takes("ImageGeneration"),
    route(
        "post",
        "/v1/images/edits",
        "Pictures from a picture and a prompt",
        "ImageList",
    )
    .takes("ImageEdit"),
    route(
        "post",
        "/v1/audio/transcriptions",
        "What is said in a sound",
        "Transcription",
    )
    .takes("TranscriptionRequest"),
    route(
        "post",
        "/v1/audio/translations",
        "What is said in a sound, in English",
        "Transcription",
    )
    .takes("TranslationRequest"),
    route(
        "post",
        "/v1/audio/speech",
        "A text, said aloud",
        "application/octet-stream",
    )
    .takes("SpeechRequest"),
    route(
        "get",
        "/v1/audio/voices",
        "The voices there are",
        "VoiceList",
    ),
    route(
        "post",
        "/v1/music",
        "A tune, as sound, as notes or as JSON with both",
        "application/octet-stream",
    )
    .takes("MusicRequest"),
    route(
        "post",
        "/v1/videos",
        "A clip from a prompt, and from a first frame",
        "Video",
    )
    .takes("VideoRequest"),
    route("get", "/v1/videos", "Clips, the newest first", "VideoList")
        .asks(&["limit", "after", "order"]),
    route(
        "get",
        "/v1/videos/{id}",
        "A clip, and how far it is",
        "Video",
    ),
    route(
        "delete",
        "/v1/videos/{id}",
        "Delete a clip and its file",
        "Deleted",
    ),
    route(
        "get",
        "/v1/videos/{id}/content",
        "A clip's file, a small picture of it, or its frames on one picture",
        "application/octet-stream",
    )
    .asks(&["variant"]),
    route(
        "post",
        "/v1/videos/{id}/remix",
        "A clip again, from another prompt",
        "Video",
    )
    .takes("VideoRemix"),
    route(
        "get",
        "/v1/kits",
        "Kits: what may be made of a brief",
        "KitList",
    ),
    route(
        "post",
        "/v1/creations",
        "Every medium from one brief",
        "Creation",
    )
    .takes("CreationRequest"),
    route(
        "get",
        "/v1/creations",
        "Creations, the newest first",
        "CreationList",
    ),
    route(
        "get",
        "/v1/creations/{id}",
        "A creation, its plan, and how its works stand",
        "Creation",
    ),
    route(
        "delete",
        "/v1/creations/{id}",
        "Delete a creation and its works",
        "Deleted",
    ),
    route(
        "post",
        "/v1/creations/{id}/cancel",
        "End the making of a creation; finished works stay",
        "Creation",
    ),
    route(
        "post",
        "/v1/creations/{id}/resume",
        "Make what is missing or changed",
        "Creation",
    ),
    route(
        "put",
        "/v1/creations/{id}/plan",
        "An edited plan",
        "Creation",
    )
    .takes("Plan"),
    route(
        "get",
        "/v1/creations/{id}/files/{name}",
        "A file of a creation",
        "application/octet-stream",
    ),
    route(
        "get",
        "/v1/creations/{id}/zip",
        "All files of a creation",
        "application/zip",
    ),
    route("post", "/v1/files", "Send a file", "File").takes("FileUpload"),
    route("get", "/v1/files", "Files, the newest first", "FileList")
        .asks(&["purpose", "limit", "order", "after"]),
    route("get", "/v1/files/{id}", "One file", "File"),
    route(
        "delete",
        "/v1/files/{id}",
        "Delete a file, in all vector stores",
        "Deleted",
    ),
    route(
        "get",
        "/v1/files/{id}/content",
        "What is in a file",
        "application/octet-stream",
    ),
    route(
        "post",
        "/v1/vector_stores",
        "Make a collection of documents",
        "VectorStore",
    )
    .takes("VectorStoreRequest"),
    route(
        "get",
        "/v1/vector_stores",
        "Collections, the newest first",
        "VectorStoreList",
    )
    .asks(&["limit", "order", "after"]),
    route(
        "get",
        "/v1/vector_stores/{id}",
        "One collection",
        "VectorStore",
    ),
    route(
        "post",
        "/v1/vector_stores/{id}",
        "Change a collection",
        "VectorStore",
    )
    .takes("VectorStoreRequest"),
    route(
        "delete",
        "/v1/vector_stores/{id}",
        "Delete a collection; its files stay",
        "Deleted",
    ),
    route(
        "post",
        "/v1/vector_stores/{id}/search",
        "The passages that fit a question best",
        "SearchPage",
    )
    .takes("SearchRequest"),
    route(
        "post",
        "/v1/vector_stores/{id}/files",
        "Put a file into a collection",
        "VectorStoreFile",
    )
    .takes("VectorStoreFileRequest"),
    route(
        "get",
        "/v1/vector_stores/{id}/files",
        "Files of a collection",
        "VectorStoreFileList",
    )
    .asks(&["filter", "limit", "order", "after"]),
    route(
        "get",
        "/v1/vector_stores/{id}/files/{file}",
        "One file of a collection",
        "VectorStoreFile",
    ),
    route(
        "post",
        "/v1/vector_stores/{id}/files/{file}",
        "Say other things of a file of a collection",
        "VectorStoreFile",
    )
    .takes("VectorStoreFileChange"),
    route(
        "delete",
        "/v1/vector_stores/{id}/files/{file}",
        "Take a file out of a collection",
        "Deleted",
    ),
    route(
        "get",
        "/v1/vector_stores/{id}/files/{file}/content",
        "The text of a file of a collection",
        "ContentPage",
    ),
    route(
        "post",
        "/v1/vector_stores/{id}/file_batches",
        "Put files into a collection",
        "FileBatch",
    )
    .takes("FileBatchRequest"),
    route(
        "get",
        "/v1/vector_stores/{id}/file_batches/{batch}",
        "How far a batch has come",
        "FileBatch",
    ),
    route(
        "post",
        "/v1/vector_stores/{id}/file_batches/{batch}/cancel",
        "End a batch",
        "FileBatch",
    ),
    route(
        "get",
        "/v1/vector_stores/{id}/file_batches/{batch}/files",
        "Files of a batch",
        "VectorStoreFileList",
    )
    .asks(&["filter", "limit", "order", "after"]),
    route("post", "/v1/jobs", "Queue a request", "Job").takes("JobRequest"),
    route("get", "/v1/jobs", "Jobs, the newest first", "JobList")
        .asks(&["state", "medium", "limit", "after"]),
    route("get", "/v1/jobs/events", "What happens to all jobs", EVENTS),
    route("get", "/v1/jobs/{id}", "One job", "Job"),
    route(
        "delete",
        "/v1/jobs/{id}",
        "Forget a job that has ended",
        "Deleted",
    ),
    route("post", "/v1/jobs/{id}/cancel", "End a job", "Job"),
    route(
        "get",
        "/v1/jobs/{id}/events",
        "What happens to a job",
        EVENTS,
    ),
    route("get", "/v1/library", "Works, the newest first", "WorkList")
        .asks(&["q", "medium", "tag", "limit", "after"]),
    route("get", "/v1/library/{id}", "One work", "Work"),
    route(
        "patch",
        "/v1/library/{id}",
        "Call a work otherwise, or file it",
        "Work",
    )
    .takes("WorkChange"),
    route(
        "delete",
        "/v1/library/{id}",
        "Delete a work and its file",
        "Deleted",
    ),
    route(
        "get",
        "/v1/library/{id}/file",
        "A work's file",
        "application/octet-stream",
    ),
    route(
        "get",
        "/v1/library/{id}/thumbnail",
        "A small picture of a work",
        "application/octet-stream",
    ),
    route(
        "get",
        "/v1/catalog",
        "The models that can be had",
        "Catalog",
    ),
    route("post", "/v1/catalog/{name}/pull", "Fetch a model", "Job"),
    route(
        "post",
        "/v1/catalog/{name}/evict",
        "Put an idle model away",
        "Evicted",
    ),
    route("get", "/v1/memory", "What all models take", "Memory"),
];
