//! What can be wrong with a `flare.xml`, in words for the person who wants to move.

use std::fmt;

use crate::flare_xml::FLARE_XML_BYTES_MAX;
use crate::model::NodeKey;
use crate::stored_check::Impossible;

/// What is wrong, and where.
#[derive(Debug)]
pub struct FlareXmlError {
    /// The line, counted from 1; none when it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a `flare.xml`.
#[derive(Debug)]
pub enum Problem {
    /// Larger than [`FLARE_XML_BYTES_MAX`].
    TooLarge(usize),
    /// Not UTF-8.
    NotUtf8,
    /// No well-formed XML.
    Xml(quick_xml::Error),
    /// It ends before the archive does.
    CutOff,
    /// Something else than the element `boost_serialization`.
    NotAnArchive,
    /// An entity that XML does not define by itself.
    Entity(String),
    /// An element that does not belong there, or stands there a second time.
    Unexpected(String),
    /// Text where only elements belong.
    Text(String),
    /// An element is missing.
    Missing(&'static str),
    /// An element's value is none that it can have.
    Value(&'static str),
    /// As [`Problem::Value`], with the element's name as it stands there.
    Unreadable {
        /// The element.
        element: String,
        /// Its text.
        text: String,
    },
    /// The node stands there twice.
    Twice(NodeKey),
    /// An item's key is not that of its node.
    Key {
        /// The item's key.
        first: String,
        /// The node's.
        second: NodeKey,
    },
    /// The number of items is not the one that was announced.
    Count {
        /// What was announced.
        count: usize,
        /// What is there.
        items: usize,
    },
    /// It was read, and can't be right.
    Impossible(Impossible),
}

impl fmt::Display for FlareXmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => {
                write!(f, "it has {bytes} bytes, more than the {FLARE_XML_BYTES_MAX} that are read")
            }
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::Xml(error) => write!(f, "no XML: {error}"),
            Self::CutOff => f.write_str("it is cut off here"),
            Self::NotAnArchive => {
                f.write_str("no flare.xml: <boost_serialization> is not its only element")
            }
            Self::Entity(name) => write!(f, "unknown entity `&{};`", name.escape_debug()),
            Self::Unexpected(name) => {
                write!(f, "<{}> does not belong here, or not twice", name.escape_debug())
            }
            Self::Text(text) => write!(f, "text between elements: `{}`", text.escape_debug()),
            Self::Missing(element) => write!(f, "<{element}> is missing"),
            Self::Value(element) => write!(f, "<{element}> has a value that it can't have"),
            Self::Unreadable { element, text } => {
                write!(f, "<{element}> can't be `{}`", text.escape_debug())
            }
            Self::Twice(node) => write!(f, "the node {node} stands there twice"),
            Self::Key { first, second } => {
                write!(f, "the key `{}` is given to the node {second}", first.escape_debug())
            }
            Self::Count { count, items } => {
                write!(f, "{count} nodes are announced, and {items} are there")
            }
            Self::Impossible(what) => write!(f, "it can't be right: {what}"),
        }
    }
}

impl std::error::Error for FlareXmlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Xml(error) => Some(error),
            Problem::Impossible(what) => Some(what),
            _ => None,
        }
    }
}
