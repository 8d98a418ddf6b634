//! Texts as pictures for a camera.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use qrcode::{EcLevel, QrCode, render::svg};

use crate::fault::{Fault, Outcome};

/// Pixels of a QR code's side at least; it is scaled by the page.
const QR_PIXELS_MIN: u32 = 240;

/// A QR code (ISO/IEC 18004) as SVG. At most 2,953 bytes fit; more is told as not found.
pub(crate) fn image(text: &str) -> Outcome<Response> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L)
        .map_err(|_| Fault::not_found("a QR code for a text this long"))?;
    let image = code
        .render::<svg::Color<'_>>()
        .min_dimensions(QR_PIXELS_MIN, QR_PIXELS_MIN)
        .build();
    let kind = HeaderValue::from_static("image/svg+xml");
    Ok(([(header::CONTENT_TYPE, kind)], image).into_response())
}
