//! Style, script and icon: compiled in, named by their content, so that a browser may keep them forever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::fault::Fault;

/// Where these files are served.
pub(crate) const PREFIX: &str = "/static/";

/// A file of `static/`.
struct Asset {
    path: String,
    etag: HeaderValue,
    media_type: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, ext: &str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash: String = blake3::hash(bytes).to_hex().chars().take(16).collect();
        Self {
            path: format!("{stem}.{hash}.{ext}"),
            etag: HeaderValue::from_str(&format!("\"{hash}\""))
                .unwrap_or(HeaderValue::from_static("")),
            media_type,
            bytes,
        }
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new(
            "waymeet",
            "css",
            "text/css; charset=utf-8",
            include_bytes!("../../static/waymeet.css"),
        ),
        Asset::new(
            "waymeet",
            "js",
            "text/javascript; charset=utf-8",
            include_bytes!("../../static/waymeet.js"),
        ),
        Asset::new(
            "waymeet",
            "svg",
            "image/svg+xml",
            include_bytes!("../../static/waymeet.svg"),
        ),
    ]
});

/// Where pages find their files.
#[derive(Clone)]
pub(crate) struct AssetPaths {
    pub(crate) css: String,
    pub(crate) js: String,
    pub(crate) icon: String,
}

pub(crate) fn paths() -> AssetPaths {
    let [css, js, icon] = &*ASSETS;
    let path = |asset: &Asset| format!("{PREFIX}{}", asset.path);
    AssetPaths {
        css: path(css),
        js: path(js),
        icon: path(icon),
    }
}

pub(crate) async fn serve(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Response {
    let asset = path
        .ok()
        .and_then(|Path(path)| ASSETS.iter().find(|asset| asset.path == path));
    let Some(asset) = asset else {
        return Fault::not_found("this file").into_response();
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|etag| *etag == asset.etag);
    let fixed = [
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
        (header::ETAG, asset.etag.clone()),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(asset.media_type),
        ),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_and_the_script_load_nothing_from_elsewhere() {
        for asset in &*ASSETS {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for bad in [
                "http://",
                "https://",
                "//cdn",
                "@import",
                "data:",
                "eval(",
                "innerHTML",
            ] {
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(bad), "{} contains {bad}", asset.path);
            }
        }
    }
}
