//! `docs/guarantees.md` names tests, files and commands; each must be there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backticks.
fn quoted(page: &str) -> Vec<String> {
    page.split('`')
        .skip(1)
        .step_by(2)
        .map(|words| words.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with("target") && !name.starts_with('.') {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn what_the_page_names_is_there() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let mut all = String::new();
    sources(&root(), &mut all);
    let commands = fs::read_to_string(root().join("xtask/src/main.rs")).unwrap();
    let (mut tests, mut files, mut called) = (0, 0, 0);
    for words in quoted(&page) {
        if let Some(rest) = words.strip_prefix("cargo xtask ") {
            let command = rest.split(' ').next().unwrap_or_default();
            assert!(commands.contains(&format!("[\"{command}\"")), "there is no command {words:?}");
            called += 1;
        } else if words.matches('_').count() >= 2 && words.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            assert!(all.contains(&format!("fn {words}(")), "there is no test {words:?}");
            tests += 1;
        } else if words.contains('/') && !words.contains(' ') {
            assert!(root().join(&words).exists(), "there is no file {words:?}");
            files += 1;
        } else if words.chars().all(char::is_alphanumeric) && words.starts_with(char::is_uppercase) {
            assert!(all.contains(&format!("Mutant::{words}")), "there is no mutant {words:?}");
        }
    }
    assert!(tests >= 15 && files >= 10 && called >= 8, "{tests} tests, {files} files, {called} commands");
}
