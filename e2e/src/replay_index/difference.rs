//! Where our index answers otherwise than the transcripts, on purpose. Each row names its section
//! in docs/differences-from-flarei.md, which has the reason. Upstream's flarei is held to the
//! transcripts without any of this.

/// A way in which the index may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A map that a node has acknowledged is not sent to it again, or is.
    Repeats,
    /// The index asks nodes things: `stats`, `stats threads`.
    Questions,
    /// Versions go on above what nodes show; the maps themselves are the recorded ones.
    HigherVersions,
    /// The connection to a node that was ended by `kill` is made again.
    MonitorsReturn,
}

/// One allowed difference: the heading in docs/differences-from-flarei.md as an anchor, the
/// transcripts to which it applies (none means all), and what it is.
type Difference = (&'static str, &'static [&'static str], Kind);

/// All of them.
const DIFFERENCES: &[Difference] = &[
    ("a-map-is-sent-once", &[], Kind::Repeats),
    ("nodes-are-asked", &[], Kind::Questions),
    (
        "versions-and-thread-types-are-never-used-twice",
        &["flarei-restart-with-empty-map"],
        Kind::HigherVersions,
    ),
    ("a-monitor-cannot-be-killed", &["client-kill"], Kind::MonitorsReturn),
];

/// Whether `kind` is allowed in this transcript.
pub(super) fn allowed(kind: Kind, transcript: &str) -> bool {
    DIFFERENCES.iter().any(|(_, transcripts, theirs)| {
        *theirs == kind && (transcripts.is_empty() || transcripts.contains(&transcript))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_allowed_difference_has_its_section() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/differences-from-flarei.md");
        let page = std::fs::read_to_string(page).unwrap();
        let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
        let anchors: Vec<String> = headings
            .map(|heading| heading.to_lowercase().replace(' ', "-").replace([',', '`', '.'], ""))
            .collect();
        for (anchor, ..) in DIFFERENCES {
            assert!(anchors.iter().any(|known| known == anchor), "no section {anchor}");
        }
    }
}
