//! What the person who recorded `cluster-replication.txt` wrote into the configuration file before
//! each SIGHUP, by the note in the recording.

type Changes = &'static [(&'static str, &'static str)];

const BEGINNINGS: &[(&str, Changes)] = &[
    (
        "A/12121 gets cluster-replication = true",
        &[
            ("cluster-replication", "true"),
            ("cluster-replication-server-name", "127.0.0.1"),
            ("cluster-replication-server-port", "12131"),
            ("cluster-replication-mode", "duplicate"),
        ],
    ),
    ("second SIGHUP without a change", &[]),
    ("mode is changed to forward on A/12121", &[("cluster-replication-mode", "forward")]),
    ("cluster-replication = false on A/12121", &[("cluster-replication", "false")]),
    (
        "destination that does not exist: port 12139",
        &[
            ("cluster-replication", "true"),
            ("cluster-replication-server-port", "12139"),
            ("cluster-replication-mode", "duplicate"),
        ],
    ),
    ("the destination comes back (port 12131)", &[("cluster-replication-server-port", "12131")]),
];

/// The changes of a note; none if it is about something else, or about another node.
pub(crate) fn changes(note: &str, subject: u16) -> Option<Changes> {
    let found = BEGINNINGS.iter().find(|(beginning, _)| note.starts_with(beginning));
    found.filter(|_| subject == 12121).map(|(_, changes)| *changes)
}
