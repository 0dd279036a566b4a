//! Who may ask what over HTTP.
//!
//! Nobody logs in, so that the network decides who may read. Two kinds of visitors come from the
//! right address all the same: a web page in the browser of somebody on this machine (it can send
//! requests anywhere), and a name that its owner suddenly points at 127.0.0.1 (DNS rebinding). So
//! a request from this machine must name this machine in `Host`, and a change must besides come
//! from the loopback interface itself, from our own page or no page, with a header that other
//! pages cannot send without asking us first (we never agree).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HOST, HeaderMap, HeaderName, ORIGIN};

/// The header that a change must carry, with any value.
pub const WRITE_HEADER: &str = "x-flare-admin";

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forbidden {
    /// It names somebody else in `Host`.
    Host,
    /// It comes from another page.
    Origin,
    /// It would change something, and comes over the network.
    NotLoopback,
    /// It would change something, and somebody passed it on.
    Forwarded,
    /// It would change something, and lacks [`WRITE_HEADER`].
    NoHeader,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str(
                "the Host header must be an IP address or localhost (a name could be made to \
                 point here by anybody)",
            ),
            Self::Origin => f.write_str("the request comes from another web page"),
            Self::NotLoopback => f.write_str(
                "changes are taken from this machine only: log in there, or forward the port \
                 (ssh -L, kubectl port-forward)",
            ),
            Self::Forwarded => f.write_str("changes are not taken through a proxy"),
            Self::NoHeader => write!(f, "a change must carry the header {WRITE_HEADER}: 1"),
        }
    }
}

/// May it read?
pub(super) fn check_read(request: &HttpRequest) -> Result<(), Forbidden> {
    // Over the network names are fine: whoever reaches this address may read it anyway.
    if is_loopback(request.peer_addr()) && !names_this_machine(request.headers()) {
        return Err(Forbidden::Host);
    }
    Ok(())
}

/// May it change something?
pub(super) fn check_write(request: &HttpRequest) -> Result<(), Forbidden> {
    let headers = request.headers();
    if !is_loopback(request.peer_addr()) {
        return Err(Forbidden::NotLoopback);
    }
    if !names_this_machine(headers) {
        return Err(Forbidden::Host);
    }
    let proxied = [FORWARDED, HeaderName::from_static("x-forwarded-for")];
    if proxied.iter().any(|name| headers.contains_key(name)) {
        return Err(Forbidden::Forwarded);
    }
    if !is_same_origin(headers) {
        return Err(Forbidden::Origin);
    }
    if !headers.contains_key(WRITE_HEADER) {
        return Err(Forbidden::NoHeader);
    }
    Ok(())
}

fn is_loopback(peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Is `Host` an address or `localhost`? Those cannot be pointed elsewhere by a stranger.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, HOST) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// A browser says where the page came from that makes it ask; other programs say nothing.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let site_agrees = text(headers, HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| site == "same-origin" || site == "none");
    let origin_agrees = text(headers, ORIGIN).is_none_or(|origin| {
        origin.strip_prefix("http://").is_some_and(|from| Some(from) == text(headers, HOST))
    });
    site_agrees && origin_agrees && headers.get_all(ORIGIN).count() <= 1
}
