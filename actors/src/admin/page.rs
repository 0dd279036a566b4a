//! `/`: one page that shows the cluster live. Its parts are files beside this one, built in.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::Failure;
use super::guard;

/// The page may use its own script, style and API, and nothing else from anywhere.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The parts of the page: path, type, content.
const PARTS: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/live.js", "text/javascript; charset=utf-8", include_str!("page/live.js")),
    ("/judge.js", "text/javascript; charset=utf-8", include_str!("page/judge.js")),
    ("/dom.js", "text/javascript; charset=utf-8", include_str!("page/dom.js")),
    ("/draw.js", "text/javascript; charset=utf-8", include_str!("page/draw.js")),
    ("/recovery.js", "text/javascript; charset=utf-8", include_str!("page/recovery.js")),
    ("/events.js", "text/javascript; charset=utf-8", include_str!("page/events.js")),
    ("/orders.js", "text/javascript; charset=utf-8", include_str!("page/orders.js")),
];

pub(super) fn configure(config: &mut web::ServiceConfig) {
    for (path, kind, content) in PARTS {
        let serve = move |request: HttpRequest| async move {
            guard::check_read(&request)?;
            let response = HttpResponse::Ok()
                .content_type(kind)
                .insert_header((CACHE_CONTROL, "no-cache"))
                .body(content);
            Ok::<_, Failure>(response)
        };
        config.route(path, web::get().to(serve));
    }
}
