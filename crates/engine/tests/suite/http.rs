//! Pulling over HTTP from servers good and bad.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::*;
use medley_engine::fetch::{Token, sha256_hex};
use medley_engine::{EngineError, Hub, PullEvent, PullStage};

const URL: &str = "/o/n/resolve/main/m.gguf";

#[test]
fn a_model_is_fetched_once_and_said_under_which_licence() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _, stream| serve(request, stream, &toy(), "\"v1\""));
    let store = store(home.path(), &catalog(), &server.address);
    assert_eq!(
        store.resolve("toy").unwrap_err().code().as_str(),
        "model_not_found"
    );
    let (model, events) = pull(&store, "toy");
    let model = model.unwrap();
    assert_eq!(model.path, home.path().join("models/toy/m.gguf"));
    assert_eq!(fs::read(&model.path).unwrap(), toy());
    assert_eq!(
        files_below(home.path()),
        [
            "models/toy/m.gguf",
            "models/toy/medley.json",
            "partial/toy.lock"
        ]
    );
    let licence = PullEvent::Licence {
        name: "toy".into(),
        licence: "MIT".into(),
        note: Some("be kind".into()),
    };
    assert!(events.contains(&licence), "{events:?}");
    let end = PullEvent::Progress {
        stage: PullStage::Download,
        what: "m.gguf".into(),
        done: LENGTH as u64,
        total: Some(LENGTH as u64),
    };
    assert!(events.contains(&end), "{events:?}");
    // A second pull has nothing to do, and says nothing.
    let (again, events) = pull(&store, "toy");
    assert_eq!(again.unwrap().path, model.path);
    assert_eq!(events, []);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].path, URL);
    assert!(
        server.seen()[0]
            .header("user-agent")
            .unwrap()
            .starts_with("medley/")
    );
}

#[test]
fn redirects_are_followed_and_the_token_stays_at_home() {
    let home = tempfile::tempdir().unwrap();
    let cdn = Server::start(|request, _, stream| serve(request, stream, &toy(), "\"v1\""));
    // The same machine under another name is another server.
    let target = cdn.address.replace("127.0.0.1", "localhost") + "/blob?signature=1";
    let hub = Server::start(move |request, _, stream| {
        let location = if request.path == URL {
            "/moved".to_owned()
        } else {
            target.clone()
        };
        answer(stream, 302, &[("Location", &location)], b"");
    });
    let token = Token::new("hf_secret");
    let store =
        store(home.path(), &catalog(), &hub.address).with_hub(Hub::new(&hub.address, token));
    pull(&store, "toy").0.unwrap();
    let authorization = |seen: Vec<Seen>| -> Vec<Option<String>> {
        seen.iter()
            .map(|request| request.header("authorization").map(str::to_owned))
            .collect()
    };
    let sent = Some("Bearer hf_secret".to_owned());
    assert_eq!(authorization(hub.seen()), [sent.clone(), sent]);
    assert_eq!(authorization(cdn.seen()), [None]);
    assert_eq!(cdn.seen()[0].path, "/blob?signature=1");
}

#[test]
fn redirects_without_end_are_an_error() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| answer(stream, 302, &[("Location", "/again")], b""));
    let error = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert_eq!(error.code().as_str(), "network");
    assert!(
        error.to_string().contains("redirects more than ten times"),
        "{error}"
    );
}

#[test]
fn a_transfer_that_is_cut_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let ends = [100_000, 250_000, usize::MAX];
    let server = Server::start(move |request, n, stream| {
        serve_up_to(request, stream, &toy(), "\"v1\"", ends[n])
    });
    let store = store(home.path(), &catalog(), &server.address);
    let model = pull(&store, "toy").0.unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    let asked: Vec<_> = server
        .seen()
        .iter()
        .map(|r| (r.from(), r.header("if-range").map(str::to_owned)))
        .collect();
    let tag = Some("\"v1\"".to_owned());
    assert_eq!(
        asked,
        [
            (None, None),
            (Some(100_000), tag.clone()),
            (Some(250_000), tag)
        ]
    );
}

#[test]
fn an_interrupted_pull_is_resumed_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| {
        // The first process gets a third, then nothing more for all its attempts.
        serve_up_to(
            request,
            stream,
            &toy(),
            "\"v1\"",
            if n < 3 { 100_000 } else { usize::MAX },
        );
    });
    let first = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert_eq!(first.code().as_str(), "network");
    assert!(
        first
            .hint()
            .unwrap()
            .contains("the next pull goes on from there")
    );
    nothing_installed(home.path());
    assert_eq!(fs::metadata(part(home.path())).unwrap().len(), 100_000);
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen().last().unwrap().from(), Some(100_000));
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn a_server_that_knows_no_ranges_is_read_from_the_start() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| match n {
        0 => serve_up_to(request, stream, &toy(), "\"v1\"", 1000),
        _ => answer(stream, 200, &[], &toy()),
    });
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen()[1].from(), Some(1000));
}

#[test]
fn a_range_that_begins_elsewhere_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| match n {
        0 => serve_up_to(request, stream, &toy(), "\"v1\"", 1000),
        1 => answer(
            stream,
            206,
            &[("Content-Range", "bytes 500-299999/300000")],
            &toy()[500..],
        ),
        _ => serve(request, stream, &toy(), "\"v1\""),
    });
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen()[2].from(), None);
}

#[test]
fn a_file_that_changed_in_between_is_fetched_anew() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| match n {
        0 => serve_up_to(request, stream, &weights(LENGTH, 2), "\"old\"", 1000),
        _ => serve(request, stream, &toy(), "\"new\""),
    });
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn pieces_of_two_versions_are_noticed_by_the_hash_and_fetched_anew() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(part(home.path()).parent().unwrap()).unwrap();
    fs::write(part(home.path()), weights(1000, 2)).unwrap();
    let server = Server::start(|request, _, stream| serve(request, stream, &toy(), "\"v1\""));
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    let asked: Vec<_> = server.seen().iter().map(Seen::from).collect();
    assert_eq!(asked, [Some(1000), None]);
}

#[test]
fn a_part_that_is_too_long_or_already_whole_is_dealt_with() {
    for (left, requests) in [
        (weights(LENGTH + 5, 1), 1),
        (toy(), 0),
        (weights(LENGTH, 2), 1),
    ] {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(part(home.path()).parent().unwrap()).unwrap();
        fs::write(part(home.path()), &left).unwrap();
        let server = Server::start(|request, _, stream| serve(request, stream, &toy(), "\"v1\""));
        let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
            .0
            .unwrap();
        assert_eq!(fs::read(model.path).unwrap(), toy());
        assert_eq!(server.seen().len(), requests);
    }
}

#[test]
fn a_range_that_the_server_cannot_satisfy_starts_afresh() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| match n {
        0 => serve_up_to(request, stream, &toy(), "\"v1\"", 1000),
        1 => answer(stream, 416, &[("Content-Range", "bytes */300000")], b""),
        _ => serve(request, stream, &toy(), "\"v1\""),
    });
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_wrong_hash_is_refused_with_both_hashes() {
    let home = tempfile::tempdir().unwrap();
    let wrong = weights(LENGTH, 2);
    let expected = (sha256_hex(&toy()), sha256_hex(&wrong));
    let server = Server::start(move |request, _, stream| serve(request, stream, &wrong, "\"v1\""));
    let error = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert_eq!(error.code().as_str(), "hash_mismatch");
    let text = error.to_string();
    assert!(
        text.contains(&expected.0) && text.contains(&expected.1) && text.contains("m.gguf"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("nothing was installed"));
    nothing_installed(home.path());
    assert_eq!(fs::metadata(part(home.path())).unwrap().len(), 0);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_wrong_length_is_refused_before_the_body_comes() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| {
        // A login page in place of the file; or ten terabytes.
        head(stream, 200, &[("Content-Length", "10000000000000")]);
        std::thread::sleep(Duration::from_secs(5));
    });
    let started = Instant::now();
    let error = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(
        matches!(
            error,
            EngineError::SizeMismatch {
                expected: 300_000,
                actual: 10_000_000_000_000,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.code().as_str(), "hash_mismatch");
}

fn chunked(stream: &mut std::net::TcpStream, body: &[u8], whole: bool) {
    use std::io::Write;
    head(stream, 200, &[("Transfer-Encoding", "chunked")]);
    for chunk in body.chunks(70_000) {
        let _ = write!(stream, "{:x}\r\n", chunk.len());
        let _ = stream.write_all(chunk);
        let _ = stream.write_all(b"\r\n");
    }
    if whole {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
}

#[test]
fn chunks_are_read_and_their_end_is_told_from_a_cut() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| match n {
        0 => chunked(stream, &toy()[..200_000], false),
        _ => serve(request, stream, &toy(), "\"v1\""),
    });
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen()[1].from(), Some(200_000));

    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| chunked(stream, &toy(), true));
    assert_eq!(
        fs::read(
            pull(&store(home.path(), &catalog(), &server.address), "toy")
                .0
                .unwrap()
                .path
        )
        .unwrap(),
        toy()
    );

    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| chunked(stream, &weights(LENGTH * 3, 1), true));
    let error = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::SizeMismatch {
                expected: 300_000,
                ..
            }
        ),
        "{error}"
    );
}
