//! Style sheet, script and picture, inside the executable, with an ETag each.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: String,
    tag: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    [
        ("site.css", "text/css; charset=utf-8", include_str!("assets/site.css").to_owned()),
        ("site.js", "text/javascript; charset=utf-8", include_str!("assets/site.js").to_owned()),
        ("ocelot.svg", "image/svg+xml", include_str!("assets/ocelot.svg").to_owned()),
        ("palette.css", "text/css; charset=utf-8", super::ansi::palette_css()),
    ]
    .into_iter()
    .map(|(name, kind, text)| {
        let hash = Sha256::digest(text.as_bytes());
        let tag: String = hash.iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        Asset { name, kind, text, tag: format!("\"{tag}\"") }
    })
    .collect()
});

/// `GET /assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Browsers ask each time and mostly get "not modified": an upgrade shows at once.
    let fixed = [(header::ETAG, asset.tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == asset.tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, asset.kind)], asset.text.as_str()).into_response()
}
