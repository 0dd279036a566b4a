//! The stored forms of a topology: our own and upstream's `flare.xml`.

mod flare_xml;
mod random;
mod store_format;
