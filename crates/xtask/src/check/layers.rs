//! The arrows between the crates: ARCHITECTURE.md draws them, this file holds everyone to them.

use crate::metadata::{Metadata, Package};

/// Crates by layer; an ordinary dependency must lie on a strictly lower one.
const LAYERS: &[(&str, u8)] = &[
    ("medley-kernels", 0),
    ("medley-types", 0),
    ("medley-media", 0),
    ("medley-formats", 1),
    ("medley-music", 1),
    ("medley-tokenize", 2),
    ("medley-nn", 2),
    ("medley-sampling", 3),
    ("medley-models", 3),
    ("medley-pipelines", 4),
    ("medley-train", 4),
    ("medley-engine", 5),
    ("medley-server", 6),
    ("medley-cli", 7),
];

/// Crates that only tests and developers use; nothing that ships may depend on them.
const DEVELOPER: &[&str] = &["medley-testkit", "xtask"];

/// Arrows that the layers would allow and the design does not.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "medley-models",
        "medley-tokenize",
        "a model sees token ids, not text",
    ),
    (
        "medley-models",
        "medley-media",
        "a model does no input or output",
    ),
];

/// First layer that may know of jobs, HTTP and databases.
const SERVICE_LAYER: u8 = 5;

/// Crates of the service world, by exact name.
const SERVICE_CRATES: &[&str] = &[
    "actix-web",
    "attohttpc",
    "axum",
    "curl",
    "hf-hub",
    "hyper",
    "isahc",
    "libsqlite3-sys",
    "reqwest",
    "rusqlite",
    "sqlx",
    "tiny_http",
    "tokio",
    "tower",
    "tower-http",
    "ureq",
    "warp",
];

fn layer_of(name: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, layer)| *layer)
}

/// Every broken rule, one sentence each.
pub fn violations(metadata: &Metadata) -> Vec<String> {
    metadata.members().flat_map(of_package).collect()
}

fn of_package(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let developer = DEVELOPER.contains(&name);
    let layer = layer_of(name);
    if !developer && layer.is_none() {
        return vec![format!(
            "{name} is in no layer: add it to crates/xtask/src/check/layers.rs and to ARCHITECTURE.md"
        )];
    }
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let used = dependency.name.as_str();
        if used.starts_with("candle") && name != "medley-nn" {
            found.push(format!(
                "{name} names {used}: only medley-nn does, use its Tensor"
            ));
        }
        let Some(layer) = layer else { continue };
        if layer < SERVICE_LAYER && !dependency.is_dev() && SERVICE_CRATES.contains(&used) {
            found.push(format!(
                "{name} (layer {layer}) uses {used}: nothing below engine knows of jobs, HTTP or SQLite"
            ));
        }
        if dependency.path.is_none() {
            continue;
        }
        if DEVELOPER.contains(&used) {
            if used == "xtask" || !dependency.is_dev() {
                found.push(format!(
                    "{name} depends on {used}: only tests may, as a dev-dependency"
                ));
            }
            continue;
        }
        match layer_of(used) {
            Some(below) if below < layer => {}
            Some(below) => found.push(format!(
                "{name} (layer {layer}) depends on {used} (layer {below}): arrows point to strictly lower layers"
            )),
            None => found.push(format!("{name} depends on {used}, which is in no layer")),
        }
        if let Some((.., why)) = FORBIDDEN
            .iter()
            .find(|(from, to, _)| *from == name && *to == used)
        {
            found.push(format!("{name} must not depend on {used}: {why}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Name of a dependency, its kind, and whether it is a crate of the workspace.
    type Used = (&'static str, Option<&'static str>, bool);

    /// A workspace of these packages.
    fn workspace(packages: &[(&str, &[Used])]) -> Metadata {
        let list: Vec<_> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<_> = dependencies
                    .iter()
                    .map(|(used, kind, own)| {
                        json!({"name": used, "kind": kind, "path": own.then_some("crates/x")})
                    })
                    .collect();
                json!({"name": name, "version": "0.1.0", "id": name, "license": "MIT", "source": null,
                    "repository": null, "manifest_path": "Cargo.toml", "dependencies": dependencies})
            })
            .collect();
        let ids: Vec<_> = packages.iter().map(|(name, _)| *name).collect();
        serde_json::from_value(json!({"packages": list, "workspace_members": ids, "resolve": null}))
            .unwrap()
    }

    fn messages(packages: &[(&str, &[Used])]) -> Vec<String> {
        violations(&workspace(packages))
    }

    #[test]
    fn arrows_down_are_fine() {
        let fine = messages(&[
            ("medley-formats", &[("medley-kernels", None, true)]),
            (
                "medley-nn",
                &[
                    ("candle-core", None, false),
                    ("medley-formats", None, true),
                    ("medley-testkit", Some("dev"), true),
                ],
            ),
            (
                "medley-engine",
                &[("ureq", None, false), ("medley-pipelines", None, true)],
            ),
            ("xtask", &[("medley-formats", None, true)]),
        ]);
        assert_eq!(fine, Vec::<String>::new());
    }

    #[test]
    fn arrows_up_and_sideways_are_told() {
        let up = messages(&[("medley-formats", &[("medley-nn", None, true)])]);
        assert_eq!(up.len(), 1);
        assert!(up[0].contains("medley-formats (layer 1) depends on medley-nn (layer 2)"));
        let sideways = messages(&[("medley-train", &[("medley-pipelines", None, true)])]);
        assert_eq!(sideways.len(), 1);
        let in_tests = messages(&[("medley-kernels", &[("medley-nn", Some("dev"), true)])]);
        assert_eq!(in_tests.len(), 1, "a test does not make an arrow right");
    }

    #[test]
    fn only_nn_names_candle() {
        let found = messages(&[("medley-models", &[("candle-nn", Some("dev"), false)])]);
        assert_eq!(
            found,
            ["medley-models names candle-nn: only medley-nn does, use its Tensor"]
        );
    }

    #[test]
    fn services_stay_above() {
        let found = messages(&[("medley-pipelines", &[("ureq", None, false)])]);
        assert_eq!(found.len(), 1);
        let test_server = messages(&[("medley-pipelines", &[("tokio", Some("dev"), false)])]);
        assert!(test_server.is_empty());
    }

    #[test]
    fn models_see_no_text_and_ship_no_testkit() {
        let found = messages(&[(
            "medley-models",
            &[
                ("medley-tokenize", None, true),
                ("medley-testkit", None, true),
            ],
        )]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn an_unknown_crate_is_told() {
        assert_eq!(messages(&[("medley-extras", &[])]).len(), 1);
    }
}
