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
    ResponseRequest {
        model: String,
        /// A text, or a list of items.
        input: Value,
        instructions: Option<String>,
        /// An answer that this one goes on from.
        previous_response_id: Option<String>,
        /// Written while nobody waits for it.
        background: Option<bool>,
        /// Kept, so that it can be had again; true where nothing is said.
        store: Option<bool>,
        stream: Option<bool>,
        max_output_tokens: Option<u32>,
        temperature: Option<f64>,
        top_p: Option<f64>,
        top_logprobs: Option<u32>,
        include: Option<Vec<String>>,
        text: Option<Value>,
        reasoning: Option<Value>,
        /// Functions, `file_search`, and what `GeneratorTool` describes.
        tools: Option<Vec<Value>>,
        tool_choice: Option<Value>,
        parallel_tool_calls: Option<bool>,
        /// Calls of generators that are carried out; 4 where nothing is said.
        max_tool_calls: Option<u32>,
        metadata: Option<Value>,
    }
    /// A generator that a response may call. Beside these it takes the fields of its medium's own route.
    GeneratorTool {
        /// image_generation, which is OpenAI's, or music_generation, speech_generation or video_generation.
        r#type: String,
        /// The first that there is where nothing is said.
        model: Option<String>,
        /// Of pictures and clips.
        size: Option<String>,
        /// Of pictures.
        quality: Option<String>,
        /// Of pictures png, jpeg or webp; of music and speech mp3, opus, flac or wav; of clips mp4.
        output_format: Option<String>,
        /// How often a picture is shown before it is done, 0 to 3.
        partial_images: Option<u32>,
        /// Of pictures: generate, or edit for one that begins with the last picture of the conversation.
        action: Option<String>,
        /// Of music and clips.
        seconds: Option<f64>,
        /// Of speech.
        voice: Option<String>,
        seed: Option<u32>,
    }
    /// An item of a response's output: what came of a call of a generator.
    GeneratorCall {
        id: String,
        /// The tool's type with `_call` behind it.
        r#type: String,
        /// in_progress, generating, completed or failed.
        status: String,
        /// The file in base64; null before it is done.
        result: Option<String>,
        /// What the model asked for; of speech it stands in `text`.
        revised_prompt: Option<String>,
        text: Option<String>,
        size: Option<String>,
        quality: Option<String>,
        background: Option<String>,
        output_format: Option<String>,
        /// Of sound and clips.
        mime: Option<String>,
        seconds: Option<f64>,
    }
    Response {
        id: String,
        object: String,
        created_at: u64,
        /// queued, in_progress, completed, incomplete, cancelled or failed.
        status: String,
        background: Option<bool>,
        model: Option<String>,
        output: Vec<Value>,
        previous_response_id: Option<String>,
        error: Option<Value>,
        incomplete_details: Option<Value>,
        usage: Option<Value>,
    }
    ItemList {
        object: String,
        data: Vec<Value>,
        first_id: Option<String>,
        last_id: Option<String>,
        has_more: bool,
    }
    TokenCount { object: String, input_tokens: u64, }
    MessagesRequest {
        model: String,
        max_tokens: u32,
        messages: Vec<Message>,
        system: Option<Value>,
        stop_sequences: Option<Vec<String>>,
        stream: Option<bool>,
        temperature: Option<f64>,
        top_p: Option<f64>,
        top_k: Option<u32>,
        thinking: Option<Value>,
        tools: Option<Vec<Value>>,
        tool_choice: Option<Value>,
        output_config: Option<Value>,
    }
    CountRequest {
        model: String,
        messages: Vec<Message>,
        system: Option<Value>,
        tools: Option<Vec<Value>>,
        tool_choice: Option<Value>,
    }
    MessageTokens { input_tokens: u64, }
    AnthropicMessage {
        id: String,
        r#type: String,
        role: String,
        model: String,
        content: Vec<Value>,
        stop_reason: Option<String>,
        stop_sequence: Option<String>,
        usage: Value,
    }
    RerankRequest {
        model: String,
        query: String,
        /// Texts, or objects with a text.
        documents: Vec<Value>,
        top_n: Option<u32>,
        max_tokens_per_doc: Option<u32>,
        return_documents: Option<bool>,
    }
    Ranked { index: u32, relevance_score: f64, document: Option<Value>, }
    RankedList { id: String, object: String, model: String, results: Vec<Ranked>, meta: Value, usage: Value, }
    InspectionRequest { model: String, prompt: String, candidates: Option<u32>, attention: Option<bool>, }
    Inspection { object: String, model: String, shape: Value, tokens: Vec<Value>, next: Value, attention: Option<Value>, }
    LinkRequest {
        /// The path of a file of the library, of a video's content or of a creation.
        path: String,
        /// How long it opens: 3600 where nothing is said, 604800 at most.
        seconds: Option<u32>,
    }
    Link { object: String, url: String, expires_at: u64, }
    RouteRequest { prompt: String, }
    RoutedPrompt {
        /// text, image, speech, music, video, or create for works in many media.
        medium: String,
        /// What of the prompt is for that medium's model.
        prompt: String,
        /// Whether its words ask for the medium, and do not only name a thing, or say something.
        asked: bool,
    }
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
    TranscriptionRequest {
        /// A sound: WAV, FLAC, MP3, Ogg Vorbis or AAC.
        #[schema(format = Binary)]
        file: String,
        model: Option<String>,
        /// A code such as en; found out where there is none.
        language: Option<String>,
        /// Names and words to come, or what was said before.
        prompt: Option<String>,
        /// json, text, srt, verbose_json or vtt.
        response_format: Option<String>,
        temperature: Option<f64>,
        /// word, segment or both, in verbose_json.
        #[schema(rename = "timestamp_granularities[]")]
        timestamp_granularities: Option<Vec<String>>,
        stream: Option<bool>,
        /// Texts that are followed side by side.
        beam: Option<u32>,
        seed: Option<u32>,
    }
    TranslationRequest {
        #[schema(format = Binary)]
        file: String,
        model: Option<String>,
        prompt: Option<String>,
        response_format: Option<String>,
        temperature: Option<f64>,
    }
    /// `segments`, `words`, `language`, `duration` and `task` are those of verbose_json.
    Transcription {
        text: String,
        task: Option<String>,
        language: Option<String>,
        duration: Option<f64>,
        segments: Option<Vec<Value>>,
        words: Option<Vec<Value>>,
        usage: Value,
    }
    SpeechRequest {
        model: String,
        input: String,
        /// A name of GET /v1/audio/voices; OpenAI's own stand for the model's usual voice.
        voice: Option<String>,
        /// mp3, opus, flac, wav or pcm.
        response_format: Option<String>,
        speed: Option<f64>,
        /// audio or sse.
        stream_format: Option<String>,
        seed: Option<u32>,
        /// Seconds of silence between sentences.
        pause: Option<f64>,
        /// In LUFS.
        loudness: Option<f64>,
    }
    Voice { id: String, object: String, model: String, }
    VoiceList { object: String, data: Vec<Voice>, }
    MusicRequest {
        prompt: String,
        model: Option<String>,
        key: Option<String>,
        metre: Option<String>,
        tempo: Option<f64>,
        style: Option<String>,
        seconds: Option<f64>,
        /// In place of seconds.
        bars: Option<u32>,
        seed: Option<u32>,
        temperature: Option<f64>,
        /// wav, mp3, flac, opus, midi, abc, or json for all of it.
        format: Option<String>,
    }
    /// As a form, or as JSON where `input_reference` is `{"image_url": "data:image/png;base64,…"}`.
    VideoRequest {
        prompt: String,
        model: Option<String>,
        /// How long it lasts.
        seconds: Option<String>,
        /// Width and height as WxH.
        size: Option<String>,
        /// The first frame, or a clip that it goes on with.
        input_reference: Option<Value>,
        /// crop or pad: how a first frame of another aspect comes to the size.
        fit: Option<String>,
        negative_prompt: Option<String>,
        frames: Option<u32>,
        fps: Option<u32>,
        steps: Option<u32>,
        guidance: Option<f64>,
        sampler: Option<String>,
        upscale: Option<u32>,
        seed: Option<u32>,
    }
    VideoRemix { prompt: String, }
    Video {
        id: String,
        object: String,
        model: String,
        /// queued, in_progress, completed or failed.
        status: String,
        /// Of 100.
        progress: u64,
        created_at: u64,
        completed_at: Option<u64>,
        expires_at: Option<u64>,
        prompt: String,
        size: String,
        seconds: String,
        quality: String,
        remixed_from_video_id: Option<String>,
        error: Option<JobError>,
    }
    VideoList { object: String, data: Vec<Video>, first_id: Option<String>, last_id: Option<String>, has_more: bool, }
    CreationRequest {
        /// A name, what it is, and how it is to sound.
        brief: String,
        /// Name of a kit; as the brief says where it is left out.
        kit: Option<String>,
        seed: Option<u32>,
    }
    CreationWork {
        id: String,
        /// text, image, poster, music, speech, video, film or page.
        medium: String,
        title: String,
        file: String,
        files: Vec<String>,
        /// waiting, running, done, kept or failed.
        state: String,
        /// From 0 to 1, while it is made.
        progress: Option<f64>,
        error: Option<Value>,
        needs: Vec<String>,
    }
    Creation {
        id: String,
        object: String,
        /// queued, running, done, failed or cancelled.
        state: String,
        kit: String,
        brief: String,
        title: String,
        created_at: u64,
        plan: Option<Plan>,
        works: Vec<CreationWork>,
        job: String,
        error: Option<Value>,
    }
    CreationList { object: String, data: Vec<Creation>, }
    /// What `plan.json` holds.
    Plan {
        version: u32,
        brief: String,
        kit: String,
        name: String,
        what: String,
        audience: String,
        tone: String,
        message: String,
        palette: Value,
        models: Value,
        works: Vec<Value>,
    }
    Kit { id: String, object: String, title: String, about: String, example: String, }
    KitList { object: String, data: Vec<Kit>, }
    ImageList { created: u64, data: Vec<Value>, background: String, output_format: String, size: String, }
    /// Also as a form, with `request` as JSON, `image`, and `mask` and `strength` as edits of pictures have them.
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
    FileUpload {
        #[schema(format = Binary)]
        file: String,
        purpose: String,
    }
    File {
        id: String,
        object: String,
        bytes: u64,
        created_at: u64,
        expires_at: Option<u64>,
        filename: String,
        purpose: String,
        status: String,
    }
    FileList { object: String, data: Vec<File>, first_id: Option<String>, last_id: Option<String>, has_more: bool, }
    VectorStoreRequest {
        name: Option<String>,
        description: Option<String>,
        file_ids: Option<Vec<String>>,
        expires_after: Option<Value>,
        chunking_strategy: Option<Value>,
        metadata: Option<Value>,
    }
    VectorStore {
        id: String,
        object: String,
        created_at: u64,
        name: String,
        description: Option<String>,
        usage_bytes: u64,
        file_counts: Value,
        /// completed, in_progress or expired.
        status: String,
        expires_after: Option<Value>,
        expires_at: Option<u64>,
        last_active_at: u64,
        metadata: Value,
    }
    VectorStoreList {
        object: String,
        data: Vec<VectorStore>,
        first_id: Option<String>,
        last_id: Option<String>,
        has_more: bool,
    }
    SearchRequest {
        /// A text, or a list of texts.
        query: Value,
        max_num_results: Option<u32>,
        /// Conditions on attributes.
        filters: Option<Value>,
        ranking_options: Option<Value>,
        rewrite_query: Option<bool>,
    }
    SearchPage {
        object: String,
        search_query: Vec<String>,
        data: Vec<Value>,
        has_more: bool,
        next_page: Option<String>,
    }
    VectorStoreFileRequest { file_id: String, attributes: Option<Value>, chunking_strategy: Option<Value>, }
    VectorStoreFileChange { attributes: Value, }
    VectorStoreFile {
        id: String,
        object: String,
        usage_bytes: u64,
        created_at: u64,
        vector_store_id: String,
        /// in_progress, completed, failed or cancelled.
        status: String,
        last_error: Option<Value>,
        attributes: Value,
        chunking_strategy: Value,
    }
    VectorStoreFileList {
        object: String,
        data: Vec<VectorStoreFile>,
        first_id: Option<String>,
        last_id: Option<String>,
        has_more: bool,
    }
    ContentPage { object: String, data: Vec<Value>, has_more: bool, next_page: Option<String>, }
    FileBatchRequest {
        file_ids: Option<Vec<String>>,
        files: Option<Vec<VectorStoreFileRequest>>,
        attributes: Option<Value>,
        chunking_strategy: Option<Value>,
    }
    FileBatch {
        id: String,
        object: String,
        created_at: u64,
        vector_store_id: String,
        status: String,
        file_counts: Value,
    }
    Deleted { id: String, object: String, deleted: bool, }
    CatalogEntry {
        name: String,
        medium: String,
        architecture: String,
        installed: bool,
        loaded: bool,
        memory_bytes: u64,
        download_bytes: u64,
        /// Numbers of its weights, where it is here.
        parameters: Option<u64>,
        licence: String,
        bundled: bool,
        /// Whether requests can be made of it.
        served: bool,
        /// Whether it has a chat template.
        chats: bool,
        /// Whether it is the user's own, and no entry of the catalog.
        own: bool,
    }
    Catalog { object: String, data: Vec<CatalogEntry>, }
    Evicted { name: String, loaded: bool, }
    Held { id: String, memory_bytes: u64, idle: bool, last_used: u64, }
    Memory { budget_bytes: Option<u64>, used_bytes: u64, models: Vec<Held>, }
}
