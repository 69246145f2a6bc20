//! A look at a directory that changes nothing in it: what it holds, what of it is damaged, and all of it as lines of JSON.
//!
//! It needs no right to write, and a node may be running there: what that one changes meanwhile is looked at again.

use super::StoreIdentity;
use super::disk::{Side, identity_path, read_only, who_holds};
use super::error::StoreError;
use super::frame::Found;
use super::history::HistoryLook;
use super::identity;
use super::segment::{Current, Piece, format_of, pieces, recover};
use format::Version;
use format::disk::{self, Identity, Snapshot};
use model::{Incarnation, NodeId};
use serde_json::{Value, json};
use service::Durable;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How often a directory is looked at again that a running node seems to have changed under the look.
const LOOKS: usize = 8;

/// Whether a process has the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// None does.
    Nobody,
    /// One does; its id, if it has said so.
    Process(Option<u32>),
}

/// One of the two segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLook {
    /// The file.
    pub file: PathBuf,
    /// How many bytes it has; none where there is no such file.
    pub bytes: Option<usize>,
    /// Which use of the file it is; none when it is not in use.
    pub generation: Option<u64>,
    /// How many records there are, its snapshot not counted.
    pub records: usize,
    /// Whether it is the one that a start goes on from.
    pub is_current: bool,
}

/// What a directory holds.
#[derive(Debug)]
pub struct Look {
    /// The directory.
    pub dir: PathBuf,
    /// Who has it.
    pub holder: Holder,
    /// Whose memory it is.
    pub owner: Option<StoreIdentity>,
    /// The life of the disk.
    pub incarnation: Option<Incarnation>,
    /// The segments.
    pub segments: Vec<SegmentLook>,
    /// What the member remembers, if it can be read.
    pub durable: Option<Durable>,
    /// Where a write was cut short, before anything was said on its strength.
    pub cut: Option<(PathBuf, usize)>,
    /// What was decided, for people.
    pub history: HistoryLook,
    /// What keeps a node from starting here.
    pub damage: Vec<StoreError>,
    contents: [Option<Vec<u8>>; 2],
}

impl Look {
    /// Looks at `dir`. Fails when it cannot be read. What is read and is wrong is in [`damage`](Self::damage).
    pub fn at(dir: &Path) -> Result<Self, StoreError> {
        let mut look = Self::once(dir)?;
        for _ in 1..LOOKS {
            // A segment that is begun or wiped while it is read looks like damage.
            if look.holder == Holder::Nobody || (look.damage.is_empty() && look.durable.is_some()) {
                break;
            }
            look = Self::once(dir)?;
        }
        Ok(look)
    }

    /// Whether there is nothing: no node has finished a first start here.
    pub fn is_blank(&self) -> bool {
        self.owner.is_none() && self.durable.is_none() && self.damage.is_empty()
    }

    fn once(dir: &Path) -> Result<Self, StoreError> {
        let read = |path: PathBuf| read_only(&path).map_err(StoreError::io("read", &path));
        std::fs::read_dir(dir).map_err(StoreError::io("read", dir))?;
        let holder = who_holds(dir)?;
        let identity = read(identity_path(dir))?;
        let contents = [read(dir.join(Side::Even.file_name()))?, read(dir.join(Side::Odd.file_name()))?];
        let history = HistoryLook::at(dir).map_err(StoreError::io("read the history in", dir))?;
        let (mut damage, mut owner, mut incarnation) = (Vec::new(), None, None);
        match identity.map(|bytes| identity::parse(&identity_path(dir), &bytes)).transpose() {
            Ok(found) => {
                let whose =
                    |Identity { node, cluster, incarnation, .. }| (StoreIdentity { node, cluster }, incarnation);
                (owner, incarnation) = found.map(whose).unzip();
            }
            Err(error) => damage.push(error),
        }
        let mut look = Self {
            dir: dir.to_owned(),
            holder,
            owner,
            incarnation,
            segments: Vec::new(),
            durable: None,
            cut: None,
            history,
            damage,
            contents,
        };
        look.add_up();
        Ok(look)
    }

    /// Reads the segments as a start would.
    fn add_up(&mut self) {
        let images = [0, 1].map(|side: usize| self.contents[side].as_deref().unwrap_or_default());
        let file = |side: Side| self.dir.join(side.file_name());
        let formats = Side::BOTH.map(|side| {
            format_of(images[side as usize]).and_then(|found| identity::check_format(&file(side), found).err())
        });
        let mut wrong: Vec<StoreError> = formats.into_iter().flatten().collect();
        let found = if wrong.is_empty() { recover(images) } else { Ok(None) };
        let current = found.unwrap_or_else(|damage| {
            let (file, offset) = (file(damage.side), damage.offset as u64);
            wrong.push(StoreError::Corrupt { file, offset, what: damage.what });
            None
        });
        match &current {
            Some(current) => wrong.extend(self.contradiction(current)),
            None if self.owner.is_some() && wrong.is_empty() => {
                let what = "neither segment has a snapshot".into();
                wrong.push(StoreError::Corrupt { file: file(Side::Even), offset: 0, what });
            }
            None => {}
        }
        self.cut = current.as_ref().and_then(|current| Some((file(current.side), current.cut_at?)));
        self.segments = Side::BOTH.map(|side| self.segment(side, current.as_ref())).into();
        self.durable = current.map(|current| current.snapshot.durable);
        self.damage.extend(wrong);
    }

    fn segment(&self, side: Side, current: Option<&Current>) -> SegmentLook {
        let content = self.contents[side as usize].as_deref();
        let headers = pieces(content.unwrap_or_default()).into_iter().filter_map(|piece| match piece.found {
            Found::Record { header, .. } => Some((piece.offset, header.generation)),
            Found::Blank | Found::Cut | Found::Damage(_) => None,
        });
        let headers: Vec<(usize, u64)> = headers.collect();
        SegmentLook {
            file: self.dir.join(side.file_name()),
            bytes: content.map(<[u8]>::len),
            generation: headers.first().map(|(_, generation)| *generation),
            records: headers.iter().filter(|(offset, _)| *offset > 0).count(),
            is_current: current.is_some_and(|current| current.side == side),
        }
    }

    /// What the identity says otherwise than the snapshot.
    fn contradiction(&self, current: &Current) -> Option<StoreError> {
        let Current { side, generation, snapshot, records, .. } = current;
        let corrupt = |file: PathBuf, what| Some(StoreError::Corrupt { file, offset: 0, what });
        let (Some(owner), Some(incarnation)) = (&self.owner, self.incarnation) else {
            // A first start that was cut short has no identity yet; and where one cannot be read, that is said already.
            let is_missing = self.damage.is_empty() && (*generation > 1 || *records > 0);
            let what = format!("it is missing, though {} has records", side.file_name());
            return if is_missing { corrupt(identity_path(&self.dir), what) } else { None };
        };
        let file = self.dir.join(side.file_name());
        let Snapshot { node, cluster, durable, .. } = snapshot;
        if (owner.node, &owner.cluster) != (*node, cluster) {
            let (named, in_cluster) = (owner.node, &owner.cluster);
            return corrupt(file, format!("it is of {node} in {cluster}, identity.json of {named} in {in_cluster}"));
        }
        if durable.incarnation != incarnation {
            let what = format!("it is of incarnation {}, identity.json of {incarnation}", durable.incarnation);
            return corrupt(file, what);
        }
        None
    }

    /// Writes all that is there, one line of JSON each: the identity, every record with its place, what cannot be
    /// read, the sum, the history. Fails when `out` takes no more, or the history cannot be read any more.
    pub fn export(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut say = |value: Value| writeln!(out, "{value}");
        let owner = self.owner.as_ref();
        say(json!({
            "kind": "identity", "directory": self.dir.display().to_string(),
            "node": owner.map(|owner| owner.node), "cluster": owner.map(|owner| &owner.cluster),
            "incarnation": self.incarnation,
        }))?;
        for side in Side::BOTH {
            let content = self.contents[side as usize].as_deref().unwrap_or_default();
            let version = format_of(content).and_then(|found| disk::version_of(found).ok());
            for piece in pieces(content) {
                say(shape(side, &piece, version.unwrap_or(Version::NEWEST)))?;
            }
        }
        for error in &self.damage {
            say(json!({ "kind": "damage", "what": error.to_string() }))?;
        }
        say(json!({ "kind": "memory", "durable": self.durable.as_ref().map(memory) }))?;
        self.history.for_each_line(&mut |file, line| {
            let value = serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()));
            say(json!({ "kind": "history", "file": file, "line": value }))
        })
    }
}

/// What a member remembers, as a snapshot of it would say.
fn memory(durable: &Durable) -> Value {
    let versions = [Version::V5, Version::V6].into_iter();
    let snapshot = versions.filter_map(|version| disk::encode_snapshot(NodeId::A, "", durable, version).ok()).next();
    serde_json::from_slice::<Value>(&snapshot.unwrap_or_default()).unwrap_or_default()["durable"].take()
}

/// One place in a segment of this version.
fn shape(side: Side, piece: &Piece<'_>, version: Version) -> Value {
    let (file, offset) = (side.file_name(), piece.offset);
    match &piece.found {
        Found::Record { header, body, .. } => {
            let kind = if offset == 0 { "snapshot" } else { "record" };
            let known = serde_json::from_slice::<Value>(body);
            let content = known.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
            let lazy = disk::decode_record(body, version).ok().map(|record| record.is_lazy());
            json!({
                "kind": kind, "file": file, "offset": offset, "generation": header.generation,
                "forced": header.forced, "lazy": lazy, "content": content,
            })
        }
        Found::Cut => json!({ "kind": "cut", "file": file, "offset": offset }),
        Found::Damage(what) => json!({ "kind": "damage", "file": file, "offset": offset, "what": what }),
        Found::Blank => json!({ "kind": "blank", "file": file, "offset": offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, Store};
    use model::Ballot;
    use service::Record;

    fn identity() -> StoreIdentity {
        StoreIdentity { node: NodeId::A, cluster: "c-1.canary".into() }
    }

    fn filled(dir: &Path) {
        let (mut store, _) = Store::open(dir, identity(), Incarnation(7)).expect("an empty directory");
        for round in 1..4 {
            let ballot = Ballot { round, node: NodeId::A, incarnation: Incarnation(7) };
            store.append(&[Record::Promised(ballot)]).expect("the disk works");
        }
        std::fs::write(dir.join("history.jsonl"), "{\"n\":1}\n{\"n\":\n{\"n\":2}\n").expect("written");
    }

    /// Every file with its content and its time.
    fn everything(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
        let mut all: Vec<_> = std::fs::read_dir(dir)
            .expect("readable")
            .map(|entry| {
                let path = entry.expect("readable").path();
                let modified = path.metadata().and_then(|facts| facts.modified()).expect("it has a time");
                (path.clone(), std::fs::read(&path).expect("readable"), modified)
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_look_and_an_export_say_all_and_change_nothing() {
        let temporary = tempfile::tempdir().expect("a directory");
        filled(temporary.path());
        let before = everything(temporary.path());
        let look = Look::at(temporary.path()).expect("readable");
        let durable = look.durable.as_ref().expect("it is sound");
        assert!(look.damage.is_empty() && look.cut.is_none() && look.holder == Holder::Nobody, "{look:?}");
        assert_eq!((look.owner.clone(), look.incarnation), (Some(identity()), Some(Incarnation(7))));
        assert_eq!((durable.epoch, durable.promise.round), (1, 3));
        assert_eq!((look.segments[0].records, look.segments[0].is_current, look.segments[1].records), (3, true, 0));
        let mut text = Vec::new();
        look.export(&mut text).expect("memory takes all");
        let lines: Vec<Value> = String::from_utf8(text)
            .expect("text")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
        let expected =
            ["identity", "snapshot", "record", "record", "record", "memory", "history", "history", "history"];
        assert_eq!(kinds, expected);
        assert_eq!((&lines[4]["offset"], &lines[4]["content"]["promised"]["round"]), (&json!(1536), &json!(3)));
        assert_eq!((&lines[6]["line"]["n"], &lines[7]["line"]), (&json!(1), &json!("{\"n\":")));
        assert_eq!(everything(temporary.path()), before);
    }

    #[test]
    fn damage_is_named_and_what_stands_behind_it_is_exported() {
        let temporary = tempfile::tempdir().expect("a directory");
        filled(temporary.path());
        let path = temporary.path().join("log.0");
        let mut bytes = std::fs::read(&path).expect("a segment");
        bytes[1024 + 100] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        let look = Look::at(temporary.path()).expect("readable");
        let [StoreError::Corrupt { file, offset: 1024, .. }] = &look.damage[..] else { panic!("{look:?}") };
        assert_eq!((file, look.durable.as_ref()), (&path, None));
        let mut text = Vec::new();
        look.export(&mut text).expect("memory takes all");
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("\"round\":3") && text.contains("\"kind\":\"damage\""), "{text}");
        assert!(!text.contains("\"round\":2"), "what fails its checksum is not passed off as a record: {text}");
    }

    #[test]
    fn who_has_the_directory_is_said_and_not_disturbed() {
        let temporary = tempfile::tempdir().expect("a directory");
        assert!(Look::at(temporary.path()).expect("an empty directory").is_blank());
        assert!(Look::at(&temporary.path().join("none")).is_err());
        let (mut store, _) = Store::open(temporary.path(), identity(), Incarnation(7)).expect("an empty directory");
        let look = Look::at(temporary.path()).expect("readable");
        assert_eq!(look.holder, Holder::Process(Some(std::process::id())));
        let ballot = Ballot { round: 9, node: NodeId::A, incarnation: Incarnation(7) };
        store.append(&[Record::Promised(ballot)]).expect("the disk works");
        let look = Look::at(temporary.path()).expect("readable");
        assert_eq!(look.durable.map(|durable| durable.promise.round), Some(9));
    }

    #[test]
    fn a_missing_or_foreign_identity_is_damage() {
        let temporary = tempfile::tempdir().expect("a directory");
        filled(temporary.path());
        let path = temporary.path().join("identity.json");
        let text = std::fs::read_to_string(&path).expect("text");
        for (changed, word) in [
            (text.replace("node-a", "node-b"), "identity.json of node-b"),
            (text.replace("\"format\": 2", "\"format\": 9"), "has format 9"),
            ("{".into(), "identity.json is corrupt at offset 0"),
        ] {
            std::fs::write(&path, changed).expect("written");
            let damage = Look::at(temporary.path()).expect("readable").damage;
            assert!(damage.iter().any(|error| error.to_string().contains(word)), "{word}: {damage:?}");
        }
        std::fs::remove_file(&path).expect("it was there");
        let damage = Look::at(temporary.path()).expect("readable").damage;
        assert!(damage.iter().any(|error| error.to_string().contains("it is missing, though")), "{damage:?}");
    }
}
