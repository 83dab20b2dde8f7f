//! Pictures that start from pictures, and adapters.

use crate::desk::Desk;
use medley_media::{Layout, Picture};

#[test]
fn pictures_start_from_pictures() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    let bytes: Vec<u8> = (0..8 * 8 * 3).map(|i| (i * 5 % 256) as u8).collect();
    let init = Picture::new(8, 8, Layout::Rgb, bytes).unwrap();
    desk.save("init.png", &init);
    let left: Vec<u8> = (0..8 * 8 * 3)
        .map(|i| if (i / 3) % 8 < 4 { 255 } else { 0 })
        .collect();
    desk.save("mask.png", &Picture::new(8, 8, Layout::Rgb, left).unwrap());
    desk.save("wide.png", &Picture::filled(9, 8, [255; 3]).unwrap());
    let base = [
        "image",
        "a pear",
        "--model",
        "m",
        "--seed",
        "3",
        "--upscale",
        "1",
        "--init",
        "init.png",
    ];
    desk.json(&[&base[..], &["--strength", "0.25", "-o", "near.png"]].concat());
    desk.json(&[&base[..], &["--strength", "1", "-o", "far.png"]].concat());
    let distance = |name: &str| -> u32 {
        let made = desk.picture(name);
        let pairs = made.pixels().iter().zip(init.pixels());
        pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    };
    assert!(distance("near.png") < distance("far.png"));
    let painted = desk.json(&[&base[..], &["--mask", "mask.png", "-o", "painted.png"]].concat());
    let made = desk.picture("painted.png");
    let mut changed = 0;
    for (i, (new, old)) in made.pixels().iter().zip(init.pixels()).enumerate() {
        if (i / 3) % 8 < 4 {
            changed += usize::from(new != old);
        } else {
            assert_eq!(new, old, "{i}");
        }
    }
    assert!(changed > 40, "{changed}");
    let recipe = painted["recipe"].to_string();
    assert!(
        !recipe.contains("init.png") && !recipe.contains("mask.png"),
        "{recipe}"
    );
    assert_eq!(
        painted["recipe"]["init"]["sha256"].as_str().unwrap().len(),
        64
    );

    let remake = ["remake", "painted.png", "-o", "again.png"];
    desk.refuses(&remake, 1, &["--init", "SHA-256"]);
    desk.refuses(
        &[&remake[..], &["--init", "init.png"]].concat(),
        1,
        &["--mask"],
    );
    let both = ["--init", "init.png", "--mask", "mask.png"];
    let wrong = ["--init", "mask.png", "--mask", "mask.png"];
    desk.refuses(
        &[&remake[..], &wrong].concat(),
        1,
        &["mask.png", "not the file"],
    );
    desk.json(&[&remake[..], &both].concat());
    assert_eq!(desk.bytes("again.png"), desk.bytes("painted.png"));

    std::fs::write(desk.path("cut.png"), &desk.bytes("init.png")[..60]).unwrap();
    std::fs::write(desk.path("text.png"), "no picture").unwrap();
    let args = |flags: &[&'static str]| {
        [
            &["image", "a pear", "--model", "m", "-o", "x.png"][..],
            flags,
        ]
        .concat()
    };
    desk.refuses(
        &args(&["--init", "init.png", "--mask", "wide.png"]),
        1,
        &["9x8", "8x8"],
    );
    desk.refuses(&args(&["--mask", "mask.png"]), 2, &["--init"]);
    desk.refuses(&args(&["--strength", "0.5"]), 2, &["--init"]);
    desk.refuses(
        &args(&["--init", "init.png", "--strength", "7"]),
        2,
        &["strength is 7"],
    );
    desk.refuses(&args(&["--init", "cut.png"]), 1, &["cut.png", "damaged"]);
    desk.refuses(&args(&["--init", "text.png"]), 1, &["text.png", "no PNG"]);
    desk.refuses(&args(&["--init", "nowhere.png"]), 1, &["nowhere.png"]);
}

#[test]
fn adapters_change_the_picture_as_far_as_they_count() {
    let desk = Desk::new();
    crate::models::icons(&desk.path("m"));
    crate::models::lora(&desk.path("style.safetensors"));
    let draw = |lora: &[&str], name: &str| {
        let base = ["image", "a tree", "--model", "m", "--seed", "4", "-o", name];
        desk.json(&[&base[..], lora].concat());
        desk.picture(name)
    };
    let plain = draw(&[], "plain.png");
    assert_eq!(draw(&["--lora", "style.safetensors:0"], "none.png"), plain);
    let styled = draw(&["--lora", "style.safetensors"], "styled.png");
    assert_ne!(styled, plain);
    assert_eq!(
        draw(&["--lora", "style.safetensors:1.0"], "one.png"),
        styled
    );
    let two = ["--lora", "style.safetensors:0.5"].repeat(2);
    let gap = |a: &Picture, b: &Picture| -> u8 {
        let pairs = a.pixels().iter().zip(b.pixels());
        pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    };
    assert!(gap(&draw(&two, "two.png"), &styled) <= 1);
    desk.refuses(
        &["remake", "styled.png", "-o", "x.png"],
        1,
        &["--lora", "SHA-256"],
    );
    desk.json(&[
        "remake",
        "styled.png",
        "-o",
        "again.png",
        "--lora",
        "style.safetensors",
    ]);
    assert_eq!(desk.bytes("again.png"), desk.bytes("styled.png"));
    let args = ["image", "a tree", "--model", "m", "-o", "x.png", "--lora"];
    desk.refuses(&[&args[..], &["plain.png"]].concat(), 1, &["plain.png"]);
    desk.refuses(
        &[&args[..], &["style.safetensors:99"]].concat(),
        1,
        &["99", "-10 to 10"],
    );
}
