//! Every kind of message, record, entry and event, and the file that has some of it in each version. Whoever adds a kind is
//! reminded by the compiler: of the pattern here, and of the files.

use crate::v5::Heartbeat;
use crate::v5::audit::Event;
use crate::v5::greeting::Greeting;
use crate::v5::history::{Decision, Entry};
use crate::v5::log::Record;
use crate::v5::wire::Message;

/// A file with the same name in each version: its name, and what it has in version 5 and in version 6.
pub(super) struct Kind {
    pub(super) file: &'static str,
    pub(super) v5: &'static str,
    pub(super) v6: &'static str,
}

macro_rules! kinds {
    ($all:ident, $file_of:ident[$($form:ident)?]($value:ident: $type:ty) by $what:expr; $($pattern:pat => $file:literal),+ $(,)?) => {
        pub(super) const $all: &[Kind] = &[$(Kind {
            file: $file,
            v5: include_str!(concat!("../golden/v5/", $file)),
            v6: include_str!(concat!("../golden/v6/", $file)),
        }),+];

        /// The file that this belongs to.
        pub(super) fn $file_of<S $(, $form)?>($value: &$type) -> &'static str {
            match $what { $($pattern => $file),+ }
        }
    };
}

kinds! {
    MESSAGES, message_file[R](message: Message<'_, S, Heartbeat<'_>, R>) by message;
    Message::Heartbeat(_) => "wire/heartbeat.txt",
    Message::Prepare { .. } => "wire/prepare.txt",
    Message::Vote { .. } => "wire/vote.txt",
    Message::Abort { .. } => "wire/abort.txt",
    Message::Campaign { .. } => "wire/campaign.txt",
    Message::Promise { .. } => "wire/promise.txt",
    Message::Accept { .. } => "wire/accept.txt",
    Message::Accepted { .. } => "wire/accepted.txt",
    Message::Reject { .. } => "wire/reject.txt",
    Message::Decision { .. } => "wire/decision.txt",
    Message::Applied { .. } => "wire/applied.txt",
    Message::Report(_) => "wire/report.txt",
    Message::Testimony(_) => "wire/testimony.txt",
}

kinds! {
    RECORDS, record_file[](record: Record<'_, S>) by record;
    Record::Joined(_) => "log/joined.jsonl",
    Record::Promised(_) => "log/promised.jsonl",
    Record::Accepted(_) => "log/accepted.jsonl",
    Record::Committed(_) => "log/committed.jsonl",
    Record::AcceptedIsCommitted => "log/accepted_is_committed.jsonl",
}

kinds! {
    ENTRIES, entry_file[](entry: Entry<'_, S>) by entry.decision;
    Decision::Commit => "history/commit.jsonl",
    Decision::Abort => "history/abort.jsonl",
}

kinds! {
    EVENTS, event_file[](event: Event<'_, S>) by event;
    Event::Started { .. } => "audit/started.jsonl",
    Event::Stopped => "audit/stopped.jsonl",
    Event::Certificate { .. } => "audit/certificate.jsonl",
    Event::Said { .. } => "audit/said.jsonl",
    Event::Decided { .. } => "audit/decided.jsonl",
    Event::Aborted { .. } => "audit/aborted.jsonl",
    Event::Refused { .. } => "audit/refused.jsonl",
    Event::Peer { .. } => "audit/peer.jsonl",
    Event::Rejected { .. } => "audit/rejected.jsonl",
    Event::Reloaded { .. } => "audit/reloaded.jsonl",
    Event::Disbelieved { .. } => "audit/disbelieved.jsonl",
    Event::Lost { .. } => "audit/lost.jsonl",
    Event::Shortened { .. } => "audit/shortened.jsonl",
}

/// The first record of a segment.
pub(super) const SNAPSHOT: Kind = Kind {
    file: "log/snapshot.jsonl",
    v5: include_str!("../golden/v5/log/snapshot.jsonl"),
    v6: include_str!("../golden/v6/log/snapshot.jsonl"),
};

/// Greetings are the same in all versions, or nobody could tell which is spoken.
pub(super) const GREETINGS: &[(&str, &str)] = &[
    ("hello", include_str!("../golden/v5/greeting/hello.jsonl")),
    ("welcome", include_str!("../golden/v5/greeting/welcome.jsonl")),
    ("reject", include_str!("../golden/v5/greeting/reject.jsonl")),
];

/// The file that a greeting belongs to.
pub(super) fn greeting_file(greeting: &Greeting<'_>) -> &'static str {
    match greeting {
        Greeting::Hello { .. } => "hello",
        Greeting::Welcome { .. } => "welcome",
        Greeting::Reject { .. } => "reject",
    }
}
