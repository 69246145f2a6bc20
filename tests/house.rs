//! The house keeps its shape: a room imports downward only, the cores know nothing of the world outside, and no test passes for
//! want of a program.

mod needs;

use needs::{Need, named};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms of values and rules, which know nothing of the world outside.
const PURE: [&str; 6] = ["agreement", "judge", "model", "rollout", "routing", "service"];
/// All that these may depend on beside one another; none of it reads a clock, opens a file or a socket, or draws a
/// random number.
const HARMLESS: [&str; 8] =
    ["data-encoding", "hdrhistogram", "ipnet", "itoa", "serde", "serde_json", "sha2", "thiserror"];

/// Every room: the folders of the house.
fn rooms() -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("the house");
    let folders = entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir());
    folders.map(|path| path.file_name().expect("a name").to_str().expect("ASCII").to_owned()).collect()
}

/// A room's code without its tests: each file and its text.
fn code(room: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a room is a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
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

#[test]
fn pure_rooms_depend_on_nothing_from_the_world_outside() {
    for room in PURE {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(manifest).expect("a manifest").parse().expect("TOML");
        let dependencies = manifest["dependencies"].as_table().expect("a table");
        for name in dependencies.keys() {
            let allowed = PURE.contains(&name.as_str()) || HARMLESS.contains(&name.as_str());
            assert!(allowed, "{room} must not depend on {name}");
        }
    }
}

/// Everything that a room is built from: the rooms and packages that it depends on, and those that these depend on.
fn built_from(room: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![room.to_owned()];
    while let Some(room) = open.pop() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room).join("Cargo.toml");
        let Ok(manifest) = fs::read_to_string(manifest) else { continue };
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let dependencies = manifest.get("dependencies").and_then(|found| found.as_table());
        for name in dependencies.into_iter().flat_map(|found| found.keys()) {
            if found.insert(name.clone()) {
                open.push(name.clone());
            }
        }
    }
    found
}

#[test]
fn what_runs_a_node_makes_no_certificates() {
    let node = built_from("node");
    assert!(node.contains("trust") && node.contains("mesh"), "this test looks in the wrong place: {node:?}");
    for room in node.iter().map(String::as_str).chain(["node"]) {
        for maker in ["issue", "rcgen", "tar"] {
            assert!(!built_from(room).contains(maker), "{room} must not depend on {maker}");
        }
    }
    assert!(built_from("issue").contains("rcgen"), "what makes certificates is where it is thought to be");
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
    for room in ["store", "audit", "mesh", "member"] {
        for (path, text) in code(room) {
            // A look writes to whoever asks for it and nowhere else.
            if path.file_name().is_some_and(|name| name == "inspect.rs") {
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
    let all: String = ["store", "audit", "mesh", "member"].into_iter().flat_map(code).map(|(_, text)| text).collect();
    let crash = code("crash");
    let text = |name: &str| {
        let found = crash.iter().find(|(path, _)| path.file_name().is_some_and(|file| file == name));
        found.map(|(_, text)| text.as_str()).expect("the file is there")
    };
    let steps =
        text("lib.rs").split("pub enum Step {").nth(1).and_then(|rest| rest.split('}').next()).expect("an enum");
    let steps: Vec<&str> = steps.lines().map(str::trim).filter_map(|line| line.strip_suffix(',')).collect();
    let (count, listed) = (steps.len(), text("armed.rs"));
    assert!(listed.contains(&format!("pub const ALL: [Self; {count}]")), "all {count} are in the list");
    for step in steps {
        assert!(all.contains(&format!("Step::{step},")), "nothing is the step {step}");
        assert!(listed.contains(&format!("        Self::{step},\n")), "{step} is not in the list");
    }
    assert!(text("lib.rs").contains("#[cfg(debug_assertions)]\nmod armed;"));
    let uses: Vec<&str> = text("lib.rs").lines().filter(|line| line.contains("armed::")).collect();
    let variable = "pub const VARIABLE: Option<&str> = Some(armed::VARIABLE);";
    assert_eq!(uses, [variable, "    armed::pass(step, when);"]);
    assert!(text("lib.rs").contains(&format!("#[cfg(debug_assertions)]\n{variable}")));
    assert!(
        text("lib.rs")
            .contains("#[cfg(debug_assertions)]\npub fn point(step: Step, when: When) {\n    armed::pass(step, when);")
    );
    let elsewhere = |name: &str| {
        let others = rooms().into_iter().filter(|room| room != "crash");
        others.flat_map(|room| code(&room)).any(|(_, text)| text.contains(name))
    };
    assert!(!elsewhere("CANARY_CRASH") && !elsewhere("kill_process(getpid(), Signal::KILL"));
}

#[test]
fn no_doc_has_an_example_since_none_is_run() {
    let fences = rooms().into_iter().flat_map(|room| code(&room)).flat_map(|(path, text)| {
        let docs = text.lines().filter(|line| line.trim_start().starts_with("//")).map(str::to_owned);
        docs.filter(|line| line.contains("```")).map(move |line| (path.clone(), line)).collect::<Vec<_>>()
    });
    for pair in fences.collect::<Vec<_>>().chunks(2) {
        assert!(pair[0].1.ends_with("```text"), "`doctest = false` leaves this out: {pair:?}");
    }
}

#[test]
fn what_tests_need_is_installed_by_the_build_machine_and_listed_for_people() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("text");
    let (installs, list) = (read(".ci/run"), read("tests/README.md"));
    for need in Need::ALL {
        let (name, package) = (need.name(), need.package().unwrap_or_default());
        let installed = installs.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        let is_installed = package.is_empty() || installed.into_iter().any(|word| word == package);
        assert!(is_installed, ".ci/run does not install {package}, for {name}");
        let row = list.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        assert!(row.is_some_and(|row| row.contains(package)), "tests/README.md has no row of {name} with {package}");
        assert_eq!(named(name), Ok(vec![name]));
    }
    assert!(named("strace, shellcheck,").is_ok_and(|names| names == ["strace", "shellcheck"]));
    assert!(named("strace,straces").is_err_and(|error| error.contains("\"straces\"")));
}

/// Not a test by itself: what [`a_program_that_is_missing_fails_a_test_by_its_name`] runs where nothing is installed.
#[test]
fn where_nothing_is_installed() {
    let Ok(name) = std::env::var(NAKED) else { return };
    let need = Need::ALL.into_iter().find(|need| need.name() == name).expect("one of them");
    need.is_met();
}

/// Set for the process that finds no program.
const NAKED: &str = "CANARY_TEST_NAKED";

#[test]
fn a_program_that_is_missing_fails_a_test_by_its_name() {
    // Limits of the machine do not go away with PATH.
    for need in Need::ALL.into_iter().filter(|need| need.package().is_some()) {
        let (name, package) = (need.name(), need.package().unwrap_or_default());
        let run = |without: &str| {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.args(["--exact", "where_nothing_is_installed", "--nocapture"]).env("PATH", "/nowhere");
            let output = command.env(NAKED, name).env("CANARY_TESTS_WITHOUT", without).output().expect("it starts");
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        };
        let (passed, said) = run("");
        let words = [format!("{name} is missing ("), format!("Debian's package {package}, ")];
        assert!(!passed && words.iter().all(|word| said.contains(word)), "{name}: {said}");
        let (passed, said) = run(name);
        assert!(passed && said.contains(&format!("skipped: this run does without {name} ")), "{name}: {said}");
        let (passed, said) = run("nonesuch");
        assert!(!passed && said.contains("there is no \"nonesuch\""), "{name}: {said}");
    }
}

#[test]
fn the_map_of_the_rooms_says_what_each_sees() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("src/README.md")).expect("a map");
    let rooms = rooms();
    for room in &rooms {
        let folder = if room == "canary" { root.to_owned() } else { root.join("src").join(room) };
        let manifest: toml::Table =
            fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest").parse().expect("TOML");
        // What is for tests only has no other dependencies.
        let seen = manifest.get("dependencies").or(manifest.get("dev-dependencies")).and_then(toml::Value::as_table);
        let sees: BTreeSet<&str> = seen
            .into_iter()
            .flat_map(toml::Table::keys)
            .map(String::as_str)
            .filter(|name| rooms.contains(*name))
            .collect();
        let sees = if sees.is_empty() { "–".to_owned() } else { sees.into_iter().collect::<Vec<_>>().join(", ") };
        let row = map.lines().find(|line| line.starts_with(&format!("| `{room}` |")));
        assert!(row.is_some_and(|row| row.ends_with(&format!("| {sees} |"))), "{room} sees {sees}: {row:?}");
    }
}
