//! Files, vector stores, the search tool of responses, and support desks.

use crate::common::{app, ask, get, good, named_events, post};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use medley_engine::Home;
use medley_engine::desk::{Desk, Desks, Turns};
use medley_engine::documents::Readers;
use serde_json::{Value, json};
use tower::ServiceExt;

const STORES: &str = "/v1/vector_stores";

fn with_home(folder: &tempfile::TempDir, keys: &[&str]) -> Router {
    app(|settings| {
        settings.home = Some(Home::at(folder.path()));
        settings.readers = Readers::Here;
        settings.api_keys = keys.iter().map(|key| (*key).to_owned()).collect();
    })
}

fn upload(name: &str, text: &str) -> Request<Body> {
    let body = format!(
        "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n\
         --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{text}\r\n--x--\r\n"
    );
    let request =
        Request::post("/v1/files").header("content-type", "multipart/form-data; boundary=x");
    request.body(Body::from(body)).unwrap()
}

async fn send(app: &Router, name: &str, text: &str) -> String {
    let (status, file) = ask(app, upload(name, text)).await;
    assert_eq!(status, StatusCode::OK, "{file}");
    file["id"].as_str().unwrap().to_owned()
}

async fn delete(app: &Router, path: &str) -> (StatusCode, Value) {
    ask(app, Request::delete(path).body(Body::empty()).unwrap()).await
}

/// Asks until a store or a file is not in progress any more.
async fn done(app: &Router, path: &str) -> Value {
    for _ in 0..500 {
        let (_, value) = ask(app, get(path)).await;
        if value["status"] != "in_progress" {
            return value;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{path} is still in progress");
}

/// A store with these files.
async fn store(app: &Router, files: &[(&str, &str)]) -> String {
    let mut ids = Vec::new();
    for (name, text) in files {
        ids.push(send(app, name, text).await);
    }
    let made = good(
        app,
        STORES,
        &json!({ "name": "shop", "file_ids": ids, "metadata": { "a": "b" } }),
    )
    .await;
    let id = made["id"].as_str().unwrap().to_owned();
    done(app, &format!("{STORES}/{id}")).await;
    id
}

const RIVER: &str = "# Rivers\n\nThe river is long. It flows to the sea.\n";
const BREAD: &str = "# Bread\n\nBread is baked in an oven.\n";

#[tokio::test]
async fn a_store_is_filled_searched_and_emptied_in_the_published_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let app = with_home(&folder, &[]);
    let id = store(
        &app,
        &[
            ("river.md", RIVER),
            ("bread.md", BREAD),
            ("picture.png", "x"),
        ],
    )
    .await;
    let shown = done(&app, &format!("{STORES}/{id}")).await;
    assert_eq!(
        shown["file_counts"],
        json!({ "in_progress": 0, "completed": 2, "failed": 1, "cancelled": 0, "total": 3 })
    );
    assert_eq!(
        (&shown["object"], &shown["metadata"]),
        (&json!("vector_store"), &json!({ "a": "b" }))
    );
    let path = format!("{STORES}/{id}/search");
    let page = good(
        &app,
        &path,
        &json!({ "query": "the river", "max_num_results": 1 }),
    )
    .await;
    assert_eq!(page["object"], "vector_store.search_results.page");
    let first = &page["data"][0];
    assert_eq!(
        (&first["filename"], page["data"].as_array().unwrap().len()),
        (&json!("river.md"), 1)
    );
    assert_eq!(
        first["content"][0]["text"],
        "The river is long. It flows to the sea."
    );
    let (_, files) = ask(&app, get(&format!("{STORES}/{id}/files?filter=failed"))).await;
    assert_eq!(files["data"][0]["last_error"]["code"], "invalid_file");
    // Attributes narrow a search.
    let file = first["file_id"].as_str().unwrap().to_owned();
    let of_file = format!("{STORES}/{id}/files/{file}");
    let changed = good(
        &app,
        &of_file,
        &json!({ "attributes": { "kind": "water" } }),
    )
    .await;
    assert_eq!(changed["attributes"]["kind"], "water");
    let filter = json!({ "type": "ne", "key": "kind", "value": "water" });
    let page = good(
        &app,
        &path,
        &json!({ "query": "the river", "filters": filter }),
    )
    .await;
    assert_eq!(page["data"][0]["filename"], "bread.md");
    let (_, content) = ask(&app, get(&format!("{of_file}/content"))).await;
    assert_eq!(
        content["data"][0]["text"],
        "Rivers\n\nThe river is long. It flows to the sea."
    );
    // A file that goes is found no more.
    assert_eq!(delete(&app, &of_file).await.1["deleted"], true);
    let page = good(&app, &path, &json!({ "query": "the river" })).await;
    assert_eq!(page["data"][0]["filename"], "bread.md");
    assert_eq!(
        ask(&app, get(&format!("/v1/files/{file}"))).await.0,
        StatusCode::OK
    );
    assert_eq!(
        delete(&app, &format!("/v1/files/{file}")).await.0,
        StatusCode::OK
    );
    assert_eq!(
        delete(&app, &format!("/v1/files/{file}")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        delete(&app, &format!("{STORES}/{id}")).await.1["deleted"],
        true
    );
    assert_eq!(
        ask(&app, get(&format!("{STORES}/{id}"))).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn batches_are_polled_and_what_is_wrong_names_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let app = with_home(&folder, &[]);
    let id = store(&app, &[]).await;
    let file = send(&app, "river.md", RIVER).await;
    let path = format!("{STORES}/{id}/file_batches");
    let batch = good(&app, &path, &json!({ "file_ids": [file] })).await;
    let batch = done(&app, &format!("{path}/{}", batch["id"].as_str().unwrap())).await;
    assert_eq!(
        (&batch["status"], &batch["file_counts"]["completed"]),
        (&json!("completed"), &json!(1))
    );
    for (path, body, param) in [
        (path.as_str(), json!({}), "file_ids"),
        (path.as_str(), json!({ "file_ids": [1] }), "file_ids"),
        (
            STORES,
            json!({ "expires_after": { "anchor": "now", "days": 1 } }),
            "expires_after.anchor",
        ),
        (
            format!("{STORES}/{id}/search").as_str(),
            json!({ "query": 1 }),
            "query",
        ),
        (
            format!("{STORES}/{id}/search").as_str(),
            json!({ "query": "a", "filters": { "type": "x" } }),
            "filters",
        ),
    ] {
        let (status, error) = ask(&app, post(path, &body)).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param)),
            "{error}"
        );
    }
    let (status, _) = ask(&app, post(&path, &json!({ "file_ids": ["file_none"] }))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, error) = ask(&app, post("/v1/files", &json!({}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
}

#[tokio::test]
async fn responses_search_files_and_cite_them() {
    let folder = tempfile::tempdir().unwrap();
    let app = with_home(&folder, &[]);
    let id = store(&app, &[("river.md", RIVER), ("bread.md", BREAD)]).await;
    let body = json!({ "model": "tiny", "input": "the river is", "max_output_tokens": 6,
        "tools": [{ "type": "file_search", "vector_store_ids": [id], "max_num_results": 1 }],
        "include": ["file_search_call.results"] });
    let response = good(&app, "/v1/responses", &body).await;
    let call = &response["output"][0];
    assert_eq!(
        (&call["type"], &call["queries"]),
        (&json!("file_search_call"), &json!(["the river is"]))
    );
    assert_eq!(call["results"][0]["filename"], "river.md");
    assert_eq!(response["output"][1]["type"], "message");
    assert!(response["output"][1]["content"][0]["annotations"].is_array());
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = named_events(&app, "/v1/responses", &streamed).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..7],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.file_search_call.in_progress",
            "response.file_search_call.searching",
            "response.file_search_call.completed",
            "response.output_item.done",
        ]
    );
    // The next turn goes on from one that searched.
    let next = json!({ "model": "tiny", "input": "and", "max_output_tokens": 4,
                       "previous_response_id": response["id"] });
    assert_eq!(
        good(&app, "/v1/responses", &next).await["output"][0]["type"],
        "message"
    );
    let mut wrong = body;
    wrong["tools"][0]["vector_store_ids"] = json!(["vs_none"]);
    assert_eq!(
        ask(&app, post("/v1/responses", &wrong)).await.0,
        StatusCode::NOT_FOUND
    );
}

const ORIGIN: &str = "https://shop.example";

/// A desk over a store, on a server that asks for keys.
async fn desk(folder: &tempfile::TempDir, change: impl FnOnce(&mut Desk)) -> (Router, Desk) {
    let open = with_home(folder, &[]);
    let id = store(&open, &[("river.md", RIVER)]).await;
    let secret = good(&open, STORES, &json!({ "name": "secret" })).await;
    let file = send(
        &open,
        "secret.md",
        "# Rivers\n\nThe secret river is the deepest river of all.\n",
    )
    .await;
    let path = format!("{STORES}/{}/files", secret["id"].as_str().unwrap());
    good(&open, &path, &json!({ "file_id": file })).await;
    done(&open, &format!("{path}/{file}")).await;
    let mut desk = Desk {
        origins: vec![ORIGIN.into()],
        sure: 0.0,
        ..Desk::new("shop", &id)
    };
    change(&mut desk);
    let mut desks = Desks::default();
    let desk = desks.put(desk).unwrap().clone();
    desks.save(&Home::at(folder.path()).desks_file()).unwrap();
    drop(open);
    (with_home(folder, &["owner"]), desk)
}

fn question(desk: &Desk, origin: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::post("/desk/shop/ask")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", desk.key));
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    request.body(Body::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_desk_answers_its_own_sites_out_of_its_own_documents() {
    let folder = tempfile::tempdir().unwrap();
    let (app, desk) = desk(&folder, |_| {}).await;
    let body =
        json!({ "question": "Is the river long? Mail me at ada@example.org", "session": "s1" });
    let response = app
        .clone()
        .oneshot(question(&desk, Some(ORIGIN), &body))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], ORIGIN);
    let (_, answer) = ask(&app, question(&desk, None, &body)).await;
    assert_eq!(answer["answered"], true, "{answer}");
    assert_eq!(answer["citations"][0]["name"], "river.md");
    assert!(!answer.to_string().contains("secret"), "{answer}");
    // Another site gets nothing, not even that there is a desk.
    for path in ["ask", "about", "hand-over"] {
        let request = Request::builder()
            .method(if path == "about" { "GET" } else { "POST" })
            .uri(format!("/desk/shop/{path}"))
            .header("origin", "https://evil.example")
            .header("authorization", format!("Bearer {}", desk.key));
        let response = app
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(
            !response
                .headers()
                .contains_key("access-control-allow-origin")
        );
    }
    // What is kept is masked.
    let database =
        medley_engine::database::Database::open(&Home::at(folder.path()).database_file()).unwrap();
    let turns = Turns::new(std::sync::Arc::new(database))
        .list("shop", false)
        .unwrap();
    assert_eq!(turns.len(), 2);
    assert!(
        turns
            .iter()
            .all(|turn| !turn.question.contains("ada@") && turn.question.contains("[mail]"))
    );
}

#[tokio::test]
async fn a_desks_key_opens_nothing_but_its_desk() {
    let folder = tempfile::tempdir().unwrap();
    let (app, desk) = desk(&folder, |desk| desk.rate = 2).await;
    let with_key = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", desk.key));
        request
            .header("content-type", "application/json")
            .body(Body::from("{}"))
            .unwrap()
    };
    for (method, path) in [
        ("GET", "/v1/models"),
        ("GET", "/v1/files"),
        ("GET", STORES),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/library"),
        ("GET", "/metrics"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/embeddings"),
    ] {
        let status = app
            .clone()
            .oneshot(with_key(method, path))
            .await
            .unwrap()
            .status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    // Not even where everyone else is let in without a key.
    let open = with_home(&folder, &[]);
    assert_eq!(
        ask(&open, with_key("GET", "/v1/models")).await.0,
        StatusCode::FORBIDDEN
    );
    let other = Desk {
        key: "pk-other".into(),
        ..desk.clone()
    };
    let body = json!({ "question": "the river" });
    assert_eq!(
        ask(&app, question(&other, None, &body)).await.0,
        StatusCode::UNAUTHORIZED
    );
    for status in [
        StatusCode::OK,
        StatusCode::OK,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        assert_eq!(ask(&app, question(&desk, None, &body)).await.0, status);
    }
    assert_eq!(
        ask(&app, get("/desk/none/about")).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_page_and_the_script_are_sent_and_what_is_in_them_is_text() {
    let folder = tempfile::tempdir().unwrap();
    let (app, desk) = desk(&folder, |desk| desk.title = "<b>\"Help\"".into()).await;
    let body = |response: axum::response::Response| async move {
        let bytes = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let page = app.clone().oneshot(get("/desk/shop")).await.unwrap();
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let html = body(page).await;
    assert!(
        html.contains("&lt;b&gt;&quot;Help&quot;") && !html.contains("<b>"),
        "{html}"
    );
    let script = app
        .clone()
        .oneshot(get("/desk/shop/desk.js"))
        .await
        .unwrap();
    let script = body(script).await;
    assert!(
        script.contains(&desk.key) && script.len() < 20_000,
        "{} bytes",
        script.len()
    );
    for never in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http://",
        "https://",
    ] {
        assert!(!script.contains(never), "{never}");
    }
}
