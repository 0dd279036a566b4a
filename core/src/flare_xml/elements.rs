//! Reads an XML document element by element, for a caller that knows which ones may come.
//!
//! Keeps no tree: a document nested deeper than the caller asks for is an error at once. Comments
//! and processing instructions are stepped over, entities of the document's own are refused.

use std::str::FromStr;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use crate::flare_xml::error::Problem;

/// How much of an element's text an error repeats, in characters.
const QUOTED_MAX: usize = 80;

/// A document that is being read.
pub(super) struct Elements<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
}

/// The next thing that matters.
enum Next {
    Open(String),
    Close,
    Text(String),
    Eof,
}

impl<'a> Elements<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { text, reader }
    }

    /// The line that was read last, counted from 1.
    pub(super) fn line(&self) -> usize {
        let read = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
        let read = &self.text.as_bytes()[..read.min(self.text.len())];
        1 + read.iter().filter(|byte| **byte == b'\n').count()
    }

    /// The document begins with this element.
    pub(super) fn open(&mut self, root: &str) -> Result<(), Problem> {
        match self.between()? {
            Next::Open(name) if name == root => Ok(()),
            _ => Err(Problem::NotAnArchive),
        }
    }

    /// The next element within the one that is open; none when that one ends.
    pub(super) fn child(&mut self) -> Result<Option<String>, Problem> {
        match self.between()? {
            Next::Open(name) => Ok(Some(name)),
            Next::Close => Ok(None),
            Next::Text(text) => Err(Problem::Text(quoted(text.trim()))),
            Next::Eof => Err(Problem::CutOff),
        }
    }

    /// The text of the element that was just opened, up to its end, as the value of `slot`.
    pub(super) fn value_once<T: FromStr>(
        &mut self,
        element: &str,
        slot: &mut Option<T>,
    ) -> Result<(), Problem> {
        if slot.is_some() {
            return Err(Problem::Unexpected(quoted(element)));
        }
        let mut text = String::new();
        loop {
            match self.next()? {
                Next::Text(part) => text.push_str(&part),
                Next::Close => break,
                Next::Open(name) => return Err(Problem::Unexpected(quoted(&name))),
                Next::Eof => return Err(Problem::CutOff),
            }
        }
        let value = text.parse();
        let unreadable = || Problem::Unreadable { element: quoted(element), text: quoted(&text) };
        *slot = Some(value.map_err(|_| unreadable())?);
        Ok(())
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Problem> {
        match self.between()? {
            Next::Eof => Ok(()),
            _ => Err(Problem::NotAnArchive),
        }
    }

    /// The next thing that is not blank.
    fn between(&mut self) -> Result<Next, Problem> {
        loop {
            match self.next()? {
                Next::Text(text) if text.trim().is_empty() => {}
                next => return Ok(next),
            }
        }
    }

    fn next(&mut self) -> Result<Next, Problem> {
        loop {
            return Ok(match self.reader.read_event().map_err(problem)? {
                Event::Start(start) => Next::Open(start.name().0.to_owned()),
                Event::End(_) => Next::Close,
                Event::Text(text) => Next::Text(text.into_inner().into_owned()),
                Event::CData(text) => Next::Text(text.into_inner().into_owned()),
                Event::GeneralRef(reference) => Next::Text(resolve(&reference)?),
                Event::Eof => Next::Eof,
                // `expand_empty_elements` leaves no `Empty`.
                Event::Empty(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => continue,
            });
        }
    }
}

/// A document that ends too early is cut off, whatever the parser calls it.
fn problem(error: Error) -> Problem {
    match error {
        Error::IllFormed(IllFormedError::MissingEndTag(_)) => Problem::CutOff,
        Error::Syntax(SyntaxError::InvalidBangMarkup) => Problem::Xml(error),
        // All others: something was not closed before the end.
        Error::Syntax(_) => Problem::CutOff,
        error => Problem::Xml(error),
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, Problem> {
    if let Some(character) = reference.resolve_char_ref().map_err(Problem::Xml)? {
        return Ok(character.into());
    }
    let known = resolve_xml_entity(reference);
    known.map(str::to_owned).ok_or_else(|| Problem::Entity(quoted(reference)))
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}
