//! What documents and settings say of the tree is so.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words between backticks that name a test: `path/to/file.rs::name`.
fn named_tests(document: &str) -> Vec<(&str, &str)> {
    document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|word| word.split_once(".rs::").map(|_| word.rsplit_once("::")))
        .flatten()
        .collect()
}

/// Whether a file has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        line.contains(&function) && attributes.into_iter().any(|line| *line == "#[test]")
    })
}

#[test]
fn every_test_named_in_security_md_is_in_the_tree() {
    let document = text("SECURITY.md");
    let table = document.split("## Known attacks").nth(1).expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut attacks = 0;
    for row in rows {
        let tests = named_tests(row);
        assert!(!tests.is_empty(), "no test shows it: {row}");
        for (path, name) in tests {
            assert!(has_test(&text(path), name), "{path} has no test {name}");
        }
        attacks += 1;
    }
    assert!(attacks >= 14, "the table is not read: {attacks} rows");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert_eq!(named_tests("| a | `x` | `a/b.rs::c_d` `e.rs::f` |"), [("a/b.rs", "c_d"), ("e.rs", "f")]);
    assert!(has_test("    #[test]\n    fn a() {", "a"));
    assert!(has_test("#[test]\n#[cfg(unix)]\nfn a() {", "a"));
    assert!(!has_test("#[test]\nfn ab() {", "a"));
    assert!(!has_test("#[test]\nfn b() {}\nfn a() {", "a"));
    assert!(!has_test("fn a() {", "a"));
}

#[test]
fn both_pure_crates_are_held_to_the_same_purity() {
    let (one, other) = (text("proxy-proto/clippy.toml"), text("smtp-proto/clippy.toml"));
    assert_eq!(one, other);
    let whole = text("clippy.toml");
    for setting in whole.lines().filter(|line| line.contains(" = ")) {
        assert!(one.contains(setting), "clippy takes the nearest file alone, and {setting:?} is missing there");
    }
}
