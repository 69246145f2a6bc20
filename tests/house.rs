//! The house keeps its shape: a room imports downward only, and the cores know nothing of the world outside.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, its floor, and the rooms on the same floor that it may see.
const ROOMS: [(&str, u8, &[&str]); 15] = [
    ("model", 0, &[]),
    ("commit", 1, &[]),
    ("health", 1, &[]),
    ("rollout", 1, &["health"]),
    ("routing", 1, &[]),
    ("crash", 2, &[]),
    ("store", 2, &["crash"]),
    ("pki", 2, &[]),
    ("tls", 2, &["pki"]),
    ("mesh", 2, &["crash", "pki", "tls"]),
    ("audit", 2, &["crash", "pki", "tls"]),
    ("driver", 3, &[]),
    ("api", 4, &["proxy"]),
    ("proxy", 4, &[]),
    ("node", 5, &[]),
];
/// The command line stands on top of all.
const TOP: &str = "cli";
/// What the handle hides from those who see the agreement through it.
const BEHIND_THE_HANDLE: [&str; 3] = ["commit", "mesh", "store"];
/// What no core may know.
const OUTSIDE: [&str; 10] = [
    "tokio",
    "rustls",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "SystemTime",
    "getrandom",
    "HashMap",
];

/// A room's code without its tests: each file and its text.
fn code(room: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a room is a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                if !path.ends_with("search") && !path.ends_with("sim") {
                    folders.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            found.push((path, shipped));
        }
    }
    assert!(!found.is_empty(), "{room} is empty");
    found
}

/// The rooms that a text names, by `crate::`.
fn named(text: &str) -> Vec<&str> {
    let names = text.split("crate::").skip(1);
    names.map(|rest| rest.split(|letter: char| !letter.is_ascii_lowercase()).next().unwrap_or_default()).collect()
}

fn floor(room: &str) -> u8 {
    ROOMS.iter().find(|(name, ..)| *name == room).map_or(u8::MAX, |(_, floor, _)| *floor)
}

#[test]
fn every_folder_is_a_room() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("the house");
    for entry in folders {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("ASCII");
        assert!(
            entry.path().is_file() || name == TOP || floor(&name) < u8::MAX,
            "src/{name} has no floor in this test"
        );
    }
}

#[test]
fn rooms_import_downward_only() {
    for (room, own, beside) in ROOMS {
        for (path, text) in code(room) {
            for other in named(&text) {
                let allowed = other == room || floor(other) < own || beside.contains(&other);
                assert!(allowed, "{}: {room} must not see {other}", path.display());
            }
        }
    }
}

#[test]
fn the_api_and_the_proxy_see_the_agreement_through_its_handle() {
    for room in ["api", "proxy"] {
        for (path, text) in code(room) {
            let hidden = named(&text).into_iter().find(|other| BEHIND_THE_HANDLE.contains(other));
            assert_eq!(hidden, None, "{}: use what driver shows", path.display());
        }
    }
}

#[test]
fn the_cores_know_nothing_of_the_world_outside() {
    for (room, ..) in ROOMS.into_iter().filter(|(_, floor, _)| *floor <= 1) {
        for (path, text) in code(room) {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let outside = OUTSIDE.into_iter().find(|word| line.contains(word));
                assert_eq!(outside, None, "{}: {line}", path.display());
            }
        }
    }
}

/// What leaves a trace outside of a process's memory, in the rooms of the agreement.
const TRACES: [&str; 12] = [
    ".write_all(",
    ".write_all_at(",
    ".sync_all(",
    ".sync_data(",
    ".set_len(",
    ".flush(",
    "fs::rename(",
    "fs::write(",
    "fs::remove_file(",
    "mesh.send(",
    "publisher.publish(",
    "caller.send(",
];

/// Whether `line`, or a line shortly above, says which step it is.
fn is_in_a_step(lines: &[&str], line: usize) -> bool {
    lines[line.saturating_sub(3)..=line]
        .iter()
        .any(|line| line.contains("around(Step::") || line.contains("point(Step::"))
}

#[test]
fn every_write_force_rename_send_and_publish_is_a_step_at_which_tests_end_a_node() {
    let mut found = 0;
    for room in ["store", "audit", "mesh", "driver"] {
        for (path, text) in code(room) {
            let is_only_for_tests = path.file_name().is_some_and(|name| name == "sim.rs");
            // A look writes to whoever asks for it and nowhere else.
            let is_a_look = path.file_name().is_some_and(|name| name == "inspect.rs");
            if is_only_for_tests || is_a_look {
                continue;
            }
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                if TRACES.iter().any(|trace| line.contains(trace)) {
                    found += 1;
                    assert!(is_in_a_step(&lines, number), "{}:{}: {line}", path.display(), number + 1);
                }
            }
        }
    }
    assert!(found >= 25, "only {found} were found: this test looks in the wrong place");
}

#[test]
fn every_step_is_somewhere_and_no_release_build_knows_of_them() {
    let all: String = ["store", "audit", "mesh", "driver"].into_iter().flat_map(code).map(|(_, text)| text).collect();
    let crash = code("crash");
    let text = |name: &str| {
        let found = crash.iter().find(|(path, _)| path.file_name().is_some_and(|file| file == name));
        found.map(|(_, text)| text.as_str()).expect("the file is there")
    };
    let steps =
        text("mod.rs").split("pub enum Step {").nth(1).and_then(|rest| rest.split('}').next()).expect("an enum");
    let steps: Vec<&str> = steps.lines().map(str::trim).filter_map(|line| line.strip_suffix(',')).collect();
    let (count, listed) = (steps.len(), text("armed.rs"));
    assert!(listed.contains(&format!("pub const ALL: [Self; {count}]")), "all {count} are in the list");
    for step in steps {
        assert!(all.contains(&format!("Step::{step},")), "nothing is the step {step}");
        assert!(listed.contains(&format!("        Self::{step},\n")), "{step} is not in the list");
    }
    assert!(text("mod.rs").contains("#[cfg(debug_assertions)]\nmod armed;"));
    let uses: Vec<&str> = text("mod.rs").lines().filter(|line| line.contains("armed::")).collect();
    assert_eq!(uses, ["    armed::pass(step, when);"]);
    assert!(text("mod.rs").contains(
        "#[cfg(debug_assertions)]\npub(crate) fn point(step: Step, when: When) {\n    armed::pass(step, when);"
    ));
    let elsewhere = |name: &str| {
        ROOMS.iter().any(|(room, ..)| *room != "crash" && code(room).iter().any(|(_, text)| text.contains(name)))
    };
    assert!(!elsewhere("CANARY_CRASH") && !elsewhere("kill_process(getpid(), Signal::KILL"));
}
