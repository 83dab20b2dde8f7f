//! What `medley image` refuses, and how it ends early.

use std::process::{Command, Stdio};

use crate::desk::Desk;

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    let args = |flags: &[&'static str]| {
        [
            &["image", "a pear", "--model", "m", "-o", "x.png"][..],
            flags,
        ]
        .concat()
    };
    desk.refuses(&["image", "--model", "m"], 1, &["prompt is empty"]);
    desk.refuses(&["image", " ", "--model", "m"], 1, &["prompt is empty"]);
    desk.refuses(&args(&["--steps", "0"]), 2, &["steps is 0"]);
    desk.refuses(&args(&["--steps", "-5"]), 2, &["--steps"]);
    desk.refuses(&args(&["--count", "0"]), 2, &["count is 0"]);
    desk.refuses(&args(&["--guidance", "NaN"]), 2, &["guidance"]);
    desk.refuses(&args(&["--sampler", "euler"]), 1, &["flow_euler"]);
    desk.refuses(&args(&["--sampler", "nonsense"]), 2, &["nonsense", "unipc"]);
    desk.refuses(&args(&["--truncation", "0.5"]), 1, &["no GAN"]);
    desk.refuses(&args(&["--walk", "8"]), 1, &["no GAN"]);
    desk.refuses(
        &args(&["--lora", "none.safetensors"]),
        1,
        &["none.safetensors"],
    );
    desk.refuses(
        &["image", "a pear", "--model", "m", "-o", "x.bmp"],
        1,
        &["x.bmp", ".png"],
    );
    desk.refuses(
        &["image", "a pear", "--model", "m", "-o", "no/such/x.png"],
        1,
        &["no/such/x.png"],
    );
    desk.refuses(
        &["image", "a pear", "--model", "nonsense"],
        1,
        &["nonsense"],
    );
    desk.refuses(
        &["image", "a pear", "--model", "smollm2-135m"],
        1,
        &["smollm2-135m", "makes text"],
    );
    crate::models::upscaler(&desk.path("up"));
    desk.refuses(&["image", "a pear", "--model", "up"], 1, &["draws none"]);

    // A huge request is foreseen and refused, not begun.
    let config = std::fs::read_to_string(desk.path("m/config.json")).unwrap();
    let wide = config.replace("\"max\":64", "\"max\":8192");
    std::fs::write(desk.path("m/config.json"), &wide).unwrap();
    desk.refuses(
        &args(&["--size", "8192x8192", "--upscale", "4", "--count", "1000"]),
        1,
        &["GiB", "free"],
    );
    // Damaged models.
    std::fs::write(
        desk.path("m/config.json"),
        config.replace("\"dit\"", "\"dot\""),
    )
    .unwrap();
    desk.refuses(&args(&[]), 1, &["config.json", "dot"]);
    std::fs::write(desk.path("m/config.json"), "{").unwrap();
    desk.refuses(&args(&[]), 1, &["config.json", "JSON"]);
    std::fs::write(desk.path("m/config.json"), &config).unwrap();
    let weights = desk.bytes("m/model.safetensors");
    std::fs::write(
        desk.path("m/model.safetensors"),
        &weights[..weights.len() / 2],
    )
    .unwrap();
    desk.refuses(&args(&[]), 1, &["model.safetensors"]);
    std::fs::remove_file(desk.path("m/model.safetensors")).unwrap();
    desk.refuses(&args(&[]), 1, &["model.safetensors"]);
}

#[test]
fn nan_weights_are_told_and_leave_no_file() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    let mut weights = desk.bytes("m/model.safetensors");
    let end = weights.len() - 4;
    weights[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(desk.path("m/model.safetensors"), weights).unwrap();
    desk.refuses(
        &["image", "a pear", "--model", "m", "-o", "x.png"],
        1,
        &["NaN", "damaged"],
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    let args = [
        "image",
        "a pear",
        "--model",
        "m",
        "-o",
        "x.png",
        "--steps",
        "1000",
        "--count",
        "1000",
        "--size",
        "64x64",
        "--upscale",
        "1",
    ];
    let mut child = desk.command(&args).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        !desk
            .files()
            .iter()
            .any(|file| file.extension().is_some_and(|e| e == "png"))
    );
}
