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

const ASSETS: [Asset; 8] = [
    Asset {
        path: "/",
        media_type: "text/html; charset=utf-8",
        cache: REVALIDATE,
        content: include_bytes!("../../web/index.html"),
    },
    Asset {
        path: "/assets/page.css",
        media_type: "text/css; charset=utf-8",
        cache: REVALIDATE,
        content: include_bytes!("../../web/page.css"),
    },
    Asset {
        path: "/assets/page.js",
        media_type: "text/javascript; charset=utf-8",
        cache: REVALIDATE,
        content: include_bytes!("../../web/page.js"),
    },
    Asset {
        path: "/assets/link.js",
        media_type: "text/javascript; charset=utf-8",
        cache: REVALIDATE,
        content: include_bytes!("../../web/link.js"),
    },
    Asset {
        path: "/altavoz.js",
        media_type: "text/javascript; charset=utf-8",
        cache: REVALIDATE,
        content: include_bytes!("../../web/client/dist/altavoz.js"),
    },
    Asset {
        path: "/assets/icon.svg",
        media_type: "image/svg+xml",
        cache: REVALIDATE,
        content: include_bytes!("../../web/icon.svg"),
    },
    Asset {
        path: "/assets/uplot-1.6.32/uPlot.iife.min.js",
        media_type: "text/javascript; charset=utf-8",
        cache: FOR_EVER,
        content: include_bytes!("../../web/vendor/uplot-1.6.32/uPlot.iife.min.js"),
    },
    Asset {
        path: "/assets/uplot-1.6.32/uPlot.min.css",
        media_type: "text/css; charset=utf-8",
        cache: FOR_EVER,
        content: include_bytes!("../../web/vendor/uplot-1.6.32/uPlot.min.css"),
    },
];

/// A route for each file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS
        .iter()
        .fold(Router::new(), |router, asset| router.route(asset.path, get(async || answer(asset))))
}

fn answer(asset: &'static Asset) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(asset.cache)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    ];
    (headers, asset.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_only_for_files_that_are_here() {
        let page = std::str::from_utf8(ASSETS[0].content).unwrap();
        let attributes = page.split(" src=\"").skip(1).chain(page.split(" href=\"").skip(1));
        let asked: Vec<&str> = attributes
            .filter_map(|text| text.split('"').next())
            .filter(|path| !["/metrics", "/healthz", "/readyz"].contains(path))
            .collect();
        assert!(asked.len() >= 4, "{asked:?}");
        for path in asked {
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{path}");
        }
    }

    #[test]
    fn the_page_holds_nothing_that_its_policy_forbids() {
        let page = std::str::from_utf8(ASSETS[0].content).unwrap();
        for inline in ["<style", " style=", " onclick=", " onload=", "<script>"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }
}
