//! Where the writing comes from: crates' documents and Debian's fortunes, read from this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proto::limits::{TEXT_BYTES_MAX, TITLE_CHARS_MAX};

use crate::args::Args;

/// Threads made of fortunes: the first files by name.
const BOOKS_MAX: usize = 20;
/// Texts of one file.
const TEXTS_PER_BOOK_MAX: usize = 50;

/// A document that becomes an article.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) tag: String,
}

/// Documents that didn't go in whole.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    pub(crate) cut: usize,
    pub(crate) not_utf8: usize,
    pub(crate) empty: usize,
}

/// A file of fortunes.
pub(crate) struct Book {
    pub(crate) name: String,
    pub(crate) texts: Vec<String>,
}

/// README and CHANGELOG files of crates, in the order of their names.
pub(crate) fn documents(args: &Args) -> (Vec<Piece>, Skipped) {
    let mut pieces = Vec::new();
    let mut skipped = Skipped::default();
    let folders = match &args.crates {
        Some(folder) => vec![folder.clone()],
        None => registries(),
    };
    for krate in folders.iter().flat_map(|folder| entries(folder)) {
        for file in entries(&krate) {
            if pieces.len() == args.files {
                return (pieces, skipped);
            }
            let name = name_of(&file);
            if !name.starts_with("README") && !name.starts_with("CHANGELOG") {
                continue;
            }
            let Ok(bytes) = fs::read(&file) else {
                continue;
            };
            let Ok(mut body) = String::from_utf8(bytes) else {
                skipped.not_utf8 += 1;
                continue;
            };
            if body.trim().is_empty() {
                skipped.empty += 1;
                continue;
            }
            if body.len() > TEXT_BYTES_MAX {
                skipped.cut += 1;
                body.truncate(body.floor_char_boundary(TEXT_BYTES_MAX));
            }
            let tag = name_of(&krate);
            let title = format!("{tag}: {name}");
            let title = title.chars().take(TITLE_CHARS_MAX).collect();
            pieces.push(Piece { title, body, tag });
        }
    }
    (pieces, skipped)
}

/// Texts separated by lines of `%`.
pub(crate) fn fortunes(folder: &Path) -> Vec<Book> {
    let mut books = Vec::new();
    for file in entries(folder) {
        // Indexes and links to the same text have an extension.
        if file.extension().is_some() || !file.is_file() {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let texts: Vec<_> = text
            .split("\n%\n")
            .filter(|text| !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX)
            .take(TEXTS_PER_BOOK_MAX)
            .map(str::to_owned)
            .collect();
        if !texts.is_empty() {
            books.push(Book {
                name: name_of(&file),
                texts,
            });
        }
        if books.len() == BOOKS_MAX {
            break;
        }
    }
    books
}

/// The folders with the sources of every crate that Cargo fetched.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.map(|home| entries(&home.join("registry/src")))
        .unwrap_or_default()
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort_unstable();
    paths
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
