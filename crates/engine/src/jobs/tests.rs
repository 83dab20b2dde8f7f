use std::path::Path;

use medley_types::ErrorCode;
use serde_json::json;

use super::*;

fn open(folder: &Path) -> Jobs {
    let database = Arc::new(Database::open(&folder.join("medley.db")).unwrap());
    let library = Library::open(database.clone(), &folder.join("library")).unwrap();
    Jobs::new(database, Arc::new(library))
}

fn ask(prompt: &str) -> NewJob {
    let value = json!({ "medium": "text", "model": "tiny", "prompt": prompt });
    NewJob {
        task: Task::Generate(Box::new(complete(&value, |_| None).unwrap())),
        priority: 0,
        owner: None,
        source: None,
        files: Vec::new(),
    }
}

fn work(job: &Job) -> NewWork {
    NewWork {
        medium: Medium::Text,
        model: "tiny".into(),
        model_sha256: None,
        prompt: "x".into(),
        recipe: job.request.clone(),
        mime: "text/plain",
        bytes: job.id.clone().into_bytes(),
        size: None,
        timings: json!({}),
        job: Some(job.id.clone()),
    }
}

fn next(jobs: &Jobs) -> Option<Job> {
    let job = jobs.claim(JobKind::Generate, Some(Medium::Text)).unwrap()?;
    jobs.live().begin(&job.id);
    Some(job)
}

fn state(jobs: &Jobs, id: &str) -> JobState {
    jobs.get(id).unwrap().state
}

async fn said(watch: &mut Watch) -> (&'static str, Value) {
    let event = watch.next().await.unwrap();
    (event.name, event.data)
}

#[test]
fn higher_priorities_go_first_and_equal_ones_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let low = jobs
        .submit(
            NewJob {
                priority: -1,
                ..ask("low")
            },
            10,
        )
        .unwrap();
    let first = jobs.submit(ask("first"), 10).unwrap();
    let second = jobs.submit(ask("second"), 10).unwrap();
    let high = jobs
        .submit(
            NewJob {
                priority: 5,
                ..ask("high")
            },
            10,
        )
        .unwrap();
    assert_eq!(
        jobs.counts().unwrap(),
        Counts {
            queued: 4,
            running: 0
        }
    );
    assert!(
        jobs.claim(JobKind::Generate, Some(Medium::Image))
            .unwrap()
            .is_none()
    );
    assert!(jobs.claim(JobKind::Pull, None).unwrap().is_none());
    let order: Vec<String> = std::iter::from_fn(|| next(&jobs))
        .map(|job| job.id)
        .collect();
    assert_eq!(order, [high.id.clone(), first.id, second.id, low.id]);
    let (listed, more) = jobs
        .list(&JobQuery {
            limit: 1,
            ..JobQuery::default()
        })
        .unwrap();
    assert_eq!(
        (listed[0].id.as_str(), more),
        (high.id.as_str(), true),
        "newest first"
    );
    assert_eq!(listed[0].state, JobState::Running);
}

#[test]
fn a_key_has_so_many_jobs_on_their_way_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let of = |owner: &str| NewJob {
        owner: Some(owner.into()),
        source: None,
        ..ask("x")
    };
    let first = jobs.submit(of("ada"), 2).unwrap();
    jobs.submit(of("ada"), 2).unwrap();
    let error = jobs.submit(of("ada"), 2).unwrap_err();
    assert!(
        matches!(error, EngineError::TooManyJobs { open: 2, limit: 2 }),
        "{error}"
    );
    jobs.submit(of("bob"), 2).unwrap();
    jobs.submit(ask("nobody's"), 1).unwrap();
    jobs.cancel(&first.id).unwrap();
    jobs.submit(of("ada"), 2).unwrap();
}

#[tokio::test]
async fn a_listener_hears_how_it_stands_and_then_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let job = jobs.submit(ask("x"), 10).unwrap();
    let mut early = jobs.watch(Some(&job.id)).unwrap();
    assert_eq!(said(&mut early).await, ("queued", json!({ "job": job.id })));
    next(&jobs).unwrap();
    jobs.live().progress(&job.id, "write", 1, 8);
    jobs.live().chunk(&job.id, "one ");
    jobs.live().chunk(&job.id, "two");
    assert_eq!(jobs.get(&job.id).unwrap().progress.unwrap().done, 1);
    let mut late = jobs.watch(Some(&job.id)).unwrap();
    let mut all = jobs.watch(None).unwrap();
    assert_eq!(said(&mut late).await.0, "progress");
    assert_eq!(
        said(&mut late).await,
        ("chunk", json!({ "job": job.id, "text": "one two" }))
    );
    jobs.finish(&job.id, End::Done(vec![work(&job)])).unwrap();
    let works = jobs.get(&job.id).unwrap().works;
    let done = ("done", json!({ "job": job.id, "works": works }));
    assert_eq!(said(&mut late).await, done);
    assert!(late.next().await.is_none());
    let mut names = Vec::new();
    while let Some(event) = early.next().await {
        names.push(event.name);
    }
    assert_eq!(names, ["progress", "chunk", "chunk", "done"]);
    assert_eq!(said(&mut all).await.0, "progress");
    let mut after = jobs.watch(Some(&job.id)).unwrap();
    assert_eq!(said(&mut after).await, done);
    assert!(jobs.watch(Some("job_none")).is_err());
}

#[test]
fn a_job_that_waits_is_cancelled_at_once_and_one_that_runs_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let job = jobs.submit(ask("runs"), 10).unwrap();
    let waits = jobs.submit(ask("waits"), 10).unwrap();
    let claimed = jobs
        .claim(JobKind::Generate, Some(Medium::Text))
        .unwrap()
        .unwrap();
    let stop = jobs.live().begin(&claimed.id);
    assert_eq!(claimed.id, job.id);
    assert_eq!(jobs.cancel(&waits.id).unwrap().state, JobState::Cancelled);
    assert!(next(&jobs).is_none());
    assert_eq!(jobs.cancel(&job.id).unwrap().state, JobState::Running);
    assert!(stop.token.is_cancelled() && stop.flag.is_cancelled());
    assert!(matches!(
        jobs.remove(&job.id),
        Err(EngineError::JobState { .. })
    ));
    jobs.finish(&job.id, End::Cancelled).unwrap();
    assert_eq!(
        jobs.cancel(&job.id).unwrap().state,
        JobState::Cancelled,
        "twice is once"
    );
    jobs.remove(&job.id).unwrap();
    assert!(matches!(
        jobs.get(&job.id),
        Err(EngineError::NotFound { .. })
    ));
}

#[test]
fn what_a_killed_process_left_is_queued_again_and_ends_once() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let [ran, done, ended] = ["ran", "done", "ended"].map(|p| jobs.submit(ask(p), 10).unwrap().id);
    for _ in 0..3 {
        next(&jobs).unwrap();
    }
    let claimed = jobs.get(&done).unwrap();
    jobs.finish(&done, End::Done(vec![work(&claimed)])).unwrap();
    jobs.cancel(&ended).unwrap();
    // What a killed process has begun to say is gone with it.
    drop(jobs);
    let jobs = open(folder.path());
    jobs.recover().unwrap();
    assert_eq!(state(&jobs, &ran), JobState::Queued);
    assert_eq!(state(&jobs, &done), JobState::Done);
    assert_eq!(state(&jobs, &ended), JobState::Cancelled);
    let error = jobs
        .finish(&done, End::Done(vec![work(&claimed)]))
        .unwrap_err();
    assert!(
        matches!(error, EngineError::NotFound { .. }),
        "it ended already: {error}"
    );
    assert_eq!(jobs.get(&done).unwrap().works.len(), 1);
    // A job that takes its process with it is not begun for ever.
    for _ in 0..2 {
        next(&jobs).unwrap();
        jobs.recover().unwrap();
    }
    assert_eq!(state(&jobs, &ran), JobState::Failed);
    assert!(
        jobs.get(&ran)
            .unwrap()
            .error
            .unwrap()
            .message
            .contains("process")
    );
    assert_eq!(
        jobs.get(&ran).unwrap().error.unwrap().code,
        ErrorCode::Internal.as_str()
    );
}

#[test]
fn works_that_cannot_be_kept_make_the_job_fail_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let job = jobs.submit(ask("x"), 10).unwrap();
    next(&jobs).unwrap();
    // A file where the folder of the work's file should be.
    let sha256 = crate::fetch::sha256_hex(job.id.as_bytes());
    std::fs::write(folder.path().join("library").join(&sha256[..2]), "").unwrap();
    jobs.finish(&job.id, End::Done(vec![work(&job)])).unwrap();
    let failed = jobs.get(&job.id).unwrap();
    assert_eq!((failed.state, failed.works.len()), (JobState::Failed, 0));
    assert_eq!(failed.error.unwrap().code, "file");
}

#[test]
fn the_files_of_a_job_are_there_as_long_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(folder.path());
    let file = Upload::new("image/png", b"a picture".to_vec());
    let with_file = || NewJob {
        files: vec![file.clone()],
        ..ask("with a file")
    };
    let there = |jobs: &Jobs| jobs.library().content(&file.sha256).unwrap();
    assert!(matches!(
        jobs.submit(with_file(), 0),
        Err(EngineError::TooManyJobs { .. })
    ));
    assert_eq!(there(&jobs), None, "a job that is refused keeps nothing");
    let first = jobs.submit(with_file(), 10).unwrap();
    let second = jobs.submit(with_file(), 10).unwrap();
    drop(jobs);
    // The library sweeps when it is opened.
    let jobs = open(folder.path());
    for job in [&first, &second] {
        assert_eq!(there(&jobs).as_deref(), Some(&b"a picture"[..]));
        jobs.cancel(&job.id).unwrap();
        jobs.remove(&job.id).unwrap();
    }
    assert_eq!(there(&jobs), None);
    let left = std::fs::read_dir(folder.path().join("library").join(&file.sha256[..2]));
    assert_eq!(left.unwrap().count(), 0);
}
