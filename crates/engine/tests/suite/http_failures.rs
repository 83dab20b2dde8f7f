//! Pulling from servers that are silent, busy, gone or shared, and into homes that cannot be written.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::*;
use medley_engine::fetch::Token;
use medley_engine::{CancelFlag, EngineError, Hub, PullEvent, PullOptions};

#[test]
fn silence_is_an_error_in_time() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, _| std::thread::sleep(Duration::from_secs(20)));
    let started = Instant::now();
    let error = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert_eq!(error.code().as_str(), "network");
    assert!(
        error.to_string().contains("no answer within 0.4 s"),
        "{error}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn silence_in_the_middle_is_taken_up_again() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| {
        serve_up_to(
            request,
            stream,
            &toy(),
            "\"v1\"",
            if n == 0 { 100_000 } else { usize::MAX },
        );
        if n == 0 {
            std::thread::sleep(Duration::from_secs(20));
        }
    });
    let started = Instant::now();
    let model = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();
    assert_eq!(fs::read(model.path).unwrap(), toy());
    assert_eq!(server.seen()[1].from(), Some(100_000));
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_user_who_cancels_is_not_kept_waiting() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _, stream| {
        serve_up_to(request, stream, &toy(), "\"v1\"", 100_000);
        std::thread::sleep(Duration::from_secs(20));
    });
    let mut limits = limits();
    limits.idle = Duration::from_secs(20);
    let store = store(home.path(), &catalog(), &server.address).with_limits(limits);
    let cancel = CancelFlag::new();
    let options = PullOptions {
        cancel: cancel.clone(),
        ..Default::default()
    };
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.cancel();
    });
    let started = Instant::now();
    let error = pull_with(&store, "toy", &options).0.unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(error.code().as_str(), "cancelled");
    assert_eq!(fs::metadata(part(home.path())).unwrap().len(), 100_000);
}

#[test]
fn refusals_say_what_would_help() {
    let cases = [
        (404, "", None, "model_not_found", "check the spelling"),
        (401, "", None, "network", "HF_TOKEN"),
        (
            401,
            "RepoNotFound",
            None,
            "model_not_found",
            "check the spelling",
        ),
        (
            403,
            "GatedRepo",
            Token::new("hf_x"),
            "network",
            "the token is wrong",
        ),
        (451, "", None, "network", "network"),
    ];
    for (status, word, token, code, hint) in cases {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, _, stream| {
            answer(stream, status, &[("X-Error-Code", word)], b"no")
        });
        let store = store(home.path(), &catalog(), &server.address)
            .with_hub(Hub::new(&server.address, token));
        let error = pull(&store, "toy").0.unwrap_err();
        assert_eq!(error.code().as_str(), code, "{status}: {error}");
        assert!(
            error.hint().unwrap().contains(hint),
            "{status}: {:?}",
            error.hint()
        );
        assert_eq!(server.seen().len(), 1, "{status}");
        nothing_installed(home.path());
    }
}

#[test]
fn a_busy_server_is_asked_again_but_not_for_ever() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, n, stream| match n {
        0 => answer(stream, 503, &[], b"later"),
        1 => answer(stream, 429, &[("Retry-After", "0")], b"later"),
        _ => serve(request, stream, &toy(), "\"v1\""),
    });
    pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap();

    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _, stream| answer(stream, 500, &[], b"no"));
    let error = pull(&store(home.path(), &catalog(), &server.address), "toy")
        .0
        .unwrap_err();
    assert!(
        matches!(error, EngineError::Status { status: 500, .. }),
        "{error}"
    );
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_server_that_is_not_there_gives_way_to_the_next_source() {
    let home = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    fs::write(disk.path().join("m.gguf"), toy()).unwrap();
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = format!("http://{closed}");
    let both = model(
        "toy",
        &[("m.gguf", &toy())],
        &(HUB.to_owned() + &folder_source(disk.path())),
    );
    let (result, events) = pull(&store(home.path(), &both, &address), "toy");
    assert_eq!(fs::read(result.unwrap().path).unwrap(), toy());
    let failed = events.iter().find_map(|event| match event {
        PullEvent::SourceFailed { source, reason, .. } => Some((source.as_str(), reason.as_str())),
        _ => None,
    });
    let (source, reason) = failed.unwrap();
    assert_eq!(source, "hub o/n");
    assert!(
        reason.contains("refused") && reason.contains(&closed.to_string()),
        "{reason}"
    );

    // Alone, it is the error.
    let home = tempfile::tempdir().unwrap();
    let error = pull(&store(home.path(), &catalog(), &address), "toy")
        .0
        .unwrap_err();
    assert_eq!(error.code().as_str(), "network");
}

#[test]
fn a_wrong_hash_counts_for_more_than_a_source_out_of_reach() {
    let home = tempfile::tempdir().unwrap();
    let server =
        Server::start(|request, _, stream| serve(request, stream, &weights(LENGTH, 2), "\"v1\""));
    let sources = HUB.to_owned() + &folder_source(&home.path().join("nowhere"));
    let both = model("toy", &[("m.gguf", &toy())], &sources);
    let error = pull(&store(home.path(), &both, &server.address), "toy")
        .0
        .unwrap_err();
    assert!(
        matches!(&error, EngineError::AllSources { causes, .. } if causes.len() == 2),
        "{error}"
    );
    assert_eq!(error.code().as_str(), "hash_mismatch");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn two_pulls_of_one_model_share_the_work() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _, stream| {
        std::thread::sleep(Duration::from_millis(300));
        serve(request, stream, &toy(), "\"v1\"");
    });
    let mut limits = limits();
    limits.idle = Duration::from_secs(5);
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = || {
            pull(
                &store(home.path(), &catalog(), &server.address).with_limits(limits.clone()),
                "toy",
            )
        };
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (result, _) in &results {
        assert_eq!(fs::read(&result.as_ref().unwrap().path).unwrap(), toy());
    }
    let waited = results
        .iter()
        .filter(|(_, events)| events.contains(&PullEvent::Waiting { name: "toy".into() }));
    assert_eq!(waited.count(), 1);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let server = Server::start(|request, _, stream| serve(request, stream, &toy(), "\"v1\""));
    let error = pull(
        &store(&file.join("home"), &catalog(), &server.address),
        "toy",
    )
    .0
    .unwrap_err();
    assert_eq!(error.code().as_str(), "file");
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert!(error.hint().unwrap().contains("MEDLEY_HOME"));
    assert_eq!(server.seen().len(), 0);
}
