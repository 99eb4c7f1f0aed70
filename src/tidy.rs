//! Holds the source to the house rules that no compiler checks: layers import downward only, every file says what it
//! owns, decisions stay free of clocks and tokio, `unsafe` stays in `disk`, nothing unwraps outside tests.

#![allow(clippy::print_stdout, reason = "a report to whoever runs the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// A room of the house, and the rooms that it may import.
struct Room {
    name: &'static str,
    may_import: &'static [&'static str],
}

const LAYERS: &[Room] = &[
    Room { name: "common", may_import: &[] },
    Room { name: "util", may_import: &["common"] },
    Room { name: "record", may_import: &["common", "util"] },
    Room { name: "protocol", may_import: &["common", "util"] },
    Room { name: "config", may_import: &["common", "util"] },
    Room { name: "disk", may_import: &["common", "util"] },
    Room { name: "zookeeper", may_import: &["common", "util"] },
    Room { name: "zk", may_import: &["common", "util", "config", "disk"] },
    Room { name: "network", may_import: &["common", "util", "protocol", "config", "disk"] },
    Room { name: "client", may_import: &["common", "util", "protocol", "config", "disk", "network"] },
    Room { name: "log", may_import: &["common", "util", "record", "disk", "config"] },
    Room { name: "cluster", may_import: &["common", "util", "record", "log", "config", "disk"] },
    Room {
        name: "replica",
        may_import: &["common", "util", "record", "protocol", "config", "disk", "client", "log", "cluster"],
    },
    Room { name: "controller", may_import: &["common", "util", "protocol", "config", "zk", "client", "cluster"] },
    Room {
        name: "coordinator",
        may_import: &[
            "common", "util", "record", "protocol", "config", "disk", "zk", "client", "log", "cluster", "replica",
        ],
    },
    Room {
        name: "server",
        may_import: &[
            "common",
            "util",
            "record",
            "protocol",
            "config",
            "disk",
            "zk",
            "network",
            "client",
            "log",
            "cluster",
            "replica",
            "controller",
            "coordinator",
        ],
    },
    Room {
        name: "tools",
        may_import: &[
            "common",
            "util",
            "record",
            "protocol",
            "config",
            "disk",
            "zk",
            "zookeeper",
            "client",
            "log",
            "network",
            "controller",
            "coordinator",
            "server",
        ],
    },
];

/// What a file whose page says `Pure` is free of.
const IMPURE_WORDS: &[&str] =
    &["async fn", ".await", "tokio::", "std::fs", "std::net", "Instant::now", "SystemTime::now", "std::thread"];

struct Source {
    path: PathBuf,
    /// The text before the first `#[cfg(test)]`: tests may unwrap and import as they like.
    production: String,
    whole: String,
}

impl Source {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// The lines of the file's page.
    fn page(&self) -> impl Iterator<Item = &str> {
        self.whole.lines().take_while(|line| line.starts_with("//!"))
    }

    /// The folder that a file is the page of, whether there is one or not: `a/b` for `a/b.rs` and `a/b/mod.rs`.
    fn room(&self) -> PathBuf {
        if self.path.ends_with("mod.rs") { self.path.with_file_name("") } else { self.path.with_extension("") }
    }

    /// Lines of production code with their numbers; whole-line comments are left out.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.production
            .lines()
            .enumerate()
            .map(|(n, line)| (n + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, out: &mut Vec<Source>) {
        let mut entries: Vec<_> = fs::read_dir(dir).expect("read src").map(|e| e.expect("entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let whole = fs::read_to_string(&path).expect("read source");
                let production = match whole.find("#[cfg(test)]") {
                    _ if is_test(&path) => String::new(),
                    Some(at) if whole[at..].trim_start_matches("#[cfg(test)]").trim_start().starts_with("mod ") => {
                        whole[..at].to_owned()
                    }
                    _ => whole.clone(),
                };
                out.push(Source { path, production, whole });
            }
        }
    }
    let mut out = Vec::new();
    walk(Path::new("src"), &mut out);
    out
}

/// A file with such a name, or in such a room, is all test.
fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.ends_with("fuzz.rs") || path.iter().any(|part| part == "tests")
}

fn fail_on(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn layers_import_downward_only() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some(room) = source.path.strip_prefix("src").ok().and_then(|p| p.iter().next()).and_then(|p| p.to_str())
        else {
            continue;
        };
        if room.ends_with(".rs") {
            continue;
        }
        let Some(layer) = LAYERS.iter().find(|l| l.name == room) else {
            problems.push(format!("{}: room `{room}` is not in the layer table", source.shown()));
            continue;
        };
        for (n, line) in source.code_lines() {
            for imported in line.split("crate::").skip(1) {
                let target: String = imported.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = LAYERS.iter().any(|l| l.name == target);
                if known && target != room && !layer.may_import.contains(&target.as_str()) {
                    problems.push(format!("{}:{n}: `{room}` may not import `{target}`", source.shown()));
                }
            }
        }
    }
    fail_on(problems);
}

#[test]
fn every_file_says_what_it_owns() {
    fail_on(
        sources()
            .iter()
            .filter(|s| !s.whole.starts_with("//!"))
            .map(|s| format!("{}: no `//!` line", s.shown()))
            .collect(),
    );
}

/// rustfmt sorts what stands together: this crate first, then the others by name.
#[test]
fn imports_are_one_block() {
    let mut problems = Vec::new();
    for source in &sources() {
        let mut after_import = false;
        for (n, line) in source.whole.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let is_import = line.starts_with("use ");
            let stands_apart = n > 0 && source.whole.lines().nth(n - 1) == Some("");
            if is_import && after_import && stands_apart {
                problems.push(format!("{}:{}: an empty line between imports", source.shown(), n + 1));
            }
            after_import = is_import || (after_import && (line.starts_with(' ') || line.starts_with('}')));
        }
    }
    fail_on(problems);
}

/// A page that says `Pure` binds its file and, as the page of a room, every file of the room.
#[test]
fn pure_files_know_no_clock_no_file_and_no_tokio() {
    let sources = sources();
    let says_so =
        |s: &&Source| s.page().any(|line| line.split(|c: char| !c.is_alphabetic()).any(|word| word == "Pure"));
    let pages: Vec<PathBuf> = sources.iter().filter(says_so).map(|s| s.room()).collect();
    assert!(pages.len() > 50, "only {} pages say `Pure`", pages.len());
    let mut problems = Vec::new();
    for source in sources.iter().filter(|s| pages.iter().any(|page| s.room().starts_with(page))) {
        for (n, line) in source.code_lines() {
            for word in IMPURE_WORDS.iter().filter(|w| line.contains(**w)) {
                problems.push(format!("{}:{n}: `{word}` in a pure file", source.shown()));
            }
        }
    }
    fail_on(problems);
}

#[test]
fn unsafe_stays_in_disk() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|s| !s.shown().starts_with("src/disk/") && !s.shown().ends_with("tidy.rs")) {
        for (n, line) in source.code_lines() {
            if line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("allow(unsafe_code)") {
                problems.push(format!("{}:{n}: unsafe outside of `disk`", source.shown()));
            }
        }
    }
    fail_on(problems);
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|s| !s.shown().ends_with("tidy.rs")) {
        for (n, line) in source.code_lines() {
            if line.contains(".unwrap()") {
                problems.push(format!("{}:{n}: unwrap", source.shown()));
            }
        }
    }
    fail_on(problems);
}

/// Codes are chosen where requests enter. Below, who asks another broker reads those of its answer.
#[test]
fn wire_codes_stay_out_of_the_inner_rooms() {
    const ROOMS: [&str; 3] = ["src/log/", "src/cluster/", "src/replica/"];
    const READERS: [&str; 2] = ["src/replica/isr_sync.rs", "src/replica/fetcher/"];
    let is_inner = |s: &&Source| {
        let starts_with = |places: &[&str]| places.iter().any(|place| s.shown().starts_with(place));
        starts_with(&ROOMS) && !starts_with(&READERS)
    };
    let mut problems = Vec::new();
    for source in sources().iter().filter(is_inner) {
        for (n, line) in source.code_lines().filter(|(_, line)| line.contains("ErrorCode")) {
            problems.push(format!("{}:{n}: a wire code in an inner room: {}", source.shown(), line.trim()));
        }
    }
    fail_on(problems);
}

/// Prints where to ask whether two ideas share a room. No build fails on size.
#[test]
fn largest_files_are_printed() {
    let mut sizes: Vec<(usize, String)> = sources().iter().map(|s| (s.production.lines().count(), s.shown())).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in sizes.iter().take(8).filter(|(lines, _)| *lines > 600) {
        println!("{lines:6} {path}");
    }
}
