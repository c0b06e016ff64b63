//! The live page and its files, compiled into the binary so that it can be moved alone.
//!
//! Files of others carry their version in the path and never change; ours are asked for anew each
//! time. Served by the router.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing from elsewhere, nothing inline; WebSockets by name, because older browsers do not take
/// them for 'self'. The page's icon and the chart need no more than this.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

const REVALIDATE: &str = "no-cache";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

struct Asset {
    path: &'static str,
    media_type: &'static str,
    cache: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

impl Asset {
    /// A file of ours, asked for anew each time.
    const fn ours(path: &'static str, media_type: &'static str, content: &'static [u8]) -> Self {
        Self { path, media_type, cache: REVALIDATE, content }
    }

    /// A file that never changes under its path.
    const fn fixed(path: &'static str, media_type: &'static str, content: &'static [u8]) -> Self {
        Self { path, media_type, cache: FOR_EVER, content }
    }
}

const LIVE: &[u8] = include_bytes!("../../web/index.html");

/// What is there always.
const ASSETS: [Asset; 16] = [
    Asset::ours("/live", HTML, LIVE),
    Asset::ours("/console", HTML, include_bytes!("../../web/console/index.html")),
    Asset::ours(
        "/assets/console/console.css",
        CSS,
        include_bytes!("../../web/console/console.css"),
    ),
    Asset::ours(
        "/assets/console/console.js",
        JAVASCRIPT,
        include_bytes!("../../web/console/console.js"),
    ),
    Asset::ours(
        "/assets/console/parts.js",
        JAVASCRIPT,
        include_bytes!("../../web/console/parts.js"),
    ),
    Asset::ours(
        "/assets/console/topics.js",
        JAVASCRIPT,
        include_bytes!("../../web/console/topics.js"),
    ),
    Asset::ours(
        "/assets/console/connections.js",
        JAVASCRIPT,
        include_bytes!("../../web/console/connections.js"),
    ),
    Asset::ours(
        "/assets/console/cluster.js",
        JAVASCRIPT,
        include_bytes!("../../web/console/cluster.js"),
    ),
    Asset::ours(
        "/assets/console/settings.js",
        JAVASCRIPT,
        include_bytes!("../../web/console/settings.js"),
    ),
    Asset::ours("/assets/page.css", CSS, include_bytes!("../../web/page.css")),
    Asset::ours("/assets/page.js", JAVASCRIPT, include_bytes!("../../web/page.js")),
    Asset::ours("/assets/link.js", JAVASCRIPT, include_bytes!("../../web/link.js")),
    Asset::ours("/altavoz.js", JAVASCRIPT, include_bytes!("../../web/client/dist/altavoz.js")),
    Asset::ours("/assets/icon.svg", "image/svg+xml", include_bytes!("../../web/icon.svg")),
    Asset::fixed(
        "/assets/uplot-1.6.32/uPlot.iife.min.js",
        JAVASCRIPT,
        include_bytes!("../../web/vendor/uplot-1.6.32/uPlot.iife.min.js"),
    ),
    Asset::fixed(
        "/assets/uplot-1.6.32/uPlot.min.css",
        CSS,
        include_bytes!("../../web/vendor/uplot-1.6.32/uPlot.min.css"),
    ),
];

/// The page at `/` without the demos.
const WELCOME: [Asset; 1] = [Asset::ours("/", HTML, LIVE)];

/// What there is only with the demos.
const DEMOS: [Asset; 16] = [
    Asset::ours("/", HTML, include_bytes!("../../web/demo/index.html")),
    Asset::ours("/demo/board", HTML, include_bytes!("../../web/demo/board.html")),
    Asset::ours("/demo/chat", HTML, include_bytes!("../../web/demo/chat.html")),
    Asset::ours("/demo/machine", HTML, include_bytes!("../../web/demo/machine.html")),
    Asset::ours("/demo/notices", HTML, include_bytes!("../../web/demo/notices.html")),
    Asset::ours("/demo/ticker", HTML, include_bytes!("../../web/demo/ticker.html")),
    Asset::ours("/assets/demo/demo.css", CSS, include_bytes!("../../web/demo/demo.css")),
    Asset::ours("/assets/demo/board.js", JAVASCRIPT, include_bytes!("../../web/demo/board.js")),
    Asset::ours("/assets/demo/cable.js", JAVASCRIPT, include_bytes!("../../web/demo/cable.js")),
    Asset::ours("/assets/demo/cells.js", JAVASCRIPT, include_bytes!("../../web/demo/cells.js")),
    Asset::ours("/assets/demo/chat.js", JAVASCRIPT, include_bytes!("../../web/demo/chat.js")),
    Asset::ours("/assets/demo/machine.js", JAVASCRIPT, include_bytes!("../../web/demo/machine.js")),
    Asset::ours("/assets/demo/notices.js", JAVASCRIPT, include_bytes!("../../web/demo/notices.js")),
    Asset::ours("/assets/demo/slow.js", JAVASCRIPT, include_bytes!("../../web/demo/slow.js")),
    Asset::ours("/assets/demo/stage.js", JAVASCRIPT, include_bytes!("../../web/demo/stage.js")),
    Asset::ours("/assets/demo/ticker.js", JAVASCRIPT, include_bytes!("../../web/demo/ticker.js")),
];

/// A route for each file, with those of the demos or without them.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(has_demos: bool) -> Router<S> {
    let others: &'static [Asset] = if has_demos { &DEMOS } else { &WELCOME };
    ASSETS
        .iter()
        .chain(others)
        .fold(Router::new(), |router, asset| router.route(asset.path, get(async || answer(asset))))
}

fn answer(asset: &'static Asset) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, asset.cache),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // The same for everyone, so that pages from elsewhere may use the library, too.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        // Alone in its process, a page may let a worker sleep: that is how a demo is slow.
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), asset.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a file of ours names another, and where the name ends.
    const STARTS: [&str; 4] = [" src=\"", " href=\"", " from \"", "new Worker(\""];

    fn all() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().chain(&DEMOS)
    }

    fn pages() -> impl Iterator<Item = (&'static str, &'static str)> {
        let pages = all().filter(|asset| asset.media_type == HTML);
        pages.map(|asset| (asset.path, std::str::from_utf8(asset.content).unwrap()))
    }

    #[test]
    fn pages_and_scripts_ask_only_for_files_that_are_here() {
        let mut count = 0;
        for asset in all().filter(|asset| asset.cache == REVALIDATE) {
            let text = std::str::from_utf8(asset.content).unwrap();
            let names = STARTS.iter().flat_map(|start| text.split(start).skip(1));
            let paths = names.filter_map(|rest| rest.split('"').next());
            let ours = paths.filter(|path| path.starts_with('/'));
            for path in ours.filter(|path| !["/metrics", "/healthz", "/readyz"].contains(path)) {
                count += 1;
                assert!(all().any(|asset| asset.path == path), "{}: {path}", asset.path);
            }
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn pages_hold_nothing_that_their_policy_forbids() {
        assert_eq!(pages().count(), 8);
        let inline = ["<style", " style=", " onclick=", " onload=", "<script>", "=\"http"];
        for (path, page) in pages() {
            for forbidden in inline {
                assert!(!page.contains(forbidden), "{path}: {forbidden}");
            }
        }
    }
}
