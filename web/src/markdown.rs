//! Markdown of other people, made into HTML that is safe to show.
//!
//! Two walls: the parser (comrak, raw HTML shown as text) and the sanitiser (ammonia, a short list
//! of tags). [`Markup`] is what templates put into pages as it stands, and only this module makes
//! it. Nothing in it loads anything: a picture becomes a link to it. Work is bounded by size,
//! parser steps, nesting and output; a text over a bound is shown as plain text.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, VecDeque},
    fmt::{self, Write},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use ammonia::UrlRelative;
use askama::filters::HtmlSafe;
use comrak::{
    Arena, Node,
    nodes::{AstNode, NodeValue},
    options::{Extension, Options, Render},
    try_parse_document,
};

use crate::limits::{RENDER_BYTES_MAX, RENDER_CACHE_BYTES_MAX, RENDER_DEPTH_MAX, RENDER_STEPS_MAX};

/// Parser steps between two questions whether to go on.
const STEPS_PER_QUESTION: u32 = 256;
/// A text's first heading stands below the page's and the post's own.
const HEADING_SHIFT: u8 = 2;
/// Characters of a text whose words are told in a list; lists show fewer.
const PLAIN_CHARS_MAX: usize = 600;
/// HTML knows so many levels.
const HEADING_LEVEL_MAX: u8 = 6;

/// HTML that came out of the sanitiser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Markup(Arc<str>);

impl Markup {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// Renders texts and remembers the newest ones.
#[derive(Default)]
pub(crate) struct Renderer {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    rendered: HashMap<blake3::Hash, Markup>,
    order: VecDeque<blake3::Hash>,
    bytes: usize,
}

impl Renderer {
    /// The HTML of a text.
    pub(crate) fn render(&self, text: &str) -> Markup {
        let key = blake3::hash(text.as_bytes());
        if let Some(markup) = self.lock().rendered.get(&key) {
            return markup.clone();
        }
        let markup = Markup(to_html(text).into());
        self.lock().insert(key, markup.clone());
        markup
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn insert(&mut self, key: blake3::Hash, markup: Markup) {
        self.bytes += markup.0.len();
        if self.rendered.insert(key, markup).is_none() {
            self.order.push_back(key);
        }
        while self.bytes > RENDER_CACHE_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(dropped) = self.rendered.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(dropped.0.len());
            }
        }
    }
}

fn to_html(text: &str) -> String {
    let html = parse(text).unwrap_or_else(|| plain(text));
    clean(&html)
}

/// The second wall alone.
pub(crate) fn clean(html: &str) -> String {
    SANITISER.clean(html).to_string()
}

/// The words of a text without its marks, for lists. Not HTML: templates escape it.
pub(crate) fn plain_text(text: &str) -> String {
    let begin: String = text.chars().take(PLAIN_CHARS_MAX).collect();
    let arena = Arena::new();
    let Some(root) = tree(&arena, &begin) else {
        return begin;
    };
    let mut words = String::with_capacity(begin.len());
    for node in root.descendants() {
        match &node.data().value {
            NodeValue::Text(text) => words.push_str(text),
            NodeValue::Code(code) => words.push_str(&code.literal),
            NodeValue::CodeBlock(block) => words.push_str(&block.literal),
            NodeValue::HtmlInline(html) => words.push_str(html),
            NodeValue::HtmlBlock(block) => words.push_str(&block.literal),
            NodeValue::Paragraph
            | NodeValue::Heading(_)
            | NodeValue::Item(_)
            | NodeValue::TableCell
            | NodeValue::SoftBreak
            | NodeValue::LineBreak => words.push(' '),
            _ => {}
        }
    }
    words
}

/// `None` when a bound is passed.
fn tree<'a>(arena: &'a Arena<'a>, text: &str) -> Option<Node<'a>> {
    if text.len() > engine::limits::BODY_BYTES_MAX {
        return None;
    }
    let questions = Cell::new(0);
    let enough = || {
        questions.set(questions.get() + 1);
        questions.get() > RENDER_STEPS_MAX / STEPS_PER_QUESTION
    };
    let root = try_parse_document(arena, text, &OPTIONS, &enough).ok()?;
    let too_deep = root
        .descendants()
        .any(|node| node.ancestors().nth(RENDER_DEPTH_MAX).is_some());
    (!too_deep).then_some(root)
}

/// `None` when a bound is passed.
fn parse(text: &str) -> Option<String> {
    let arena = Arena::new();
    let root = tree(&arena, text)?;
    simplify(&arena, root);
    let mut html = Bounded(String::with_capacity(text.len() * 3 / 2));
    comrak::format_html(root, &OPTIONS, &mut html).ok()?;
    Some(html.0)
}

/// The text as it was written, each line on its own. Readers of HTML drop a line end that stands
/// first, so that each cleaning would shorten the text: empty lines before the first are left out.
fn plain(text: &str) -> String {
    let text = text.trim_start_matches(['\n', '\r']);
    format!("<pre>{}</pre>", ammonia::clean_text(text))
}

/// Replaces what a page shall not contain by something that it may.
fn simplify<'a>(arena: &'a Arena<'a>, root: Node<'a>) {
    let nodes: Vec<_> = root.descendants().collect();
    for node in nodes {
        let mut data = node.data_mut();
        match &mut data.value {
            NodeValue::Heading(heading) => {
                heading.level = (heading.level + HEADING_SHIFT).min(HEADING_LEVEL_MAX);
            }
            NodeValue::Image(link) => {
                let link = link.clone();
                drop(data);
                unload_image(arena, node, link);
            }
            NodeValue::TaskItem(task) => {
                let mark = if task.symbol.is_some() {
                    "☑ "
                } else {
                    "☐ "
                };
                drop(data);
                let mark = arena.alloc(AstNode::from(NodeValue::Text(mark.into())));
                // Before the words in the item's first paragraph, so that they share a line.
                let paragraph = node
                    .first_child()
                    .filter(|child| matches!(child.data().value, NodeValue::Paragraph));
                match paragraph {
                    Some(paragraph) => paragraph.prepend(mark),
                    // A task without words. An item holds no text by itself.
                    None => {
                        let paragraph = arena.alloc(AstNode::from(NodeValue::Paragraph));
                        paragraph.append(mark);
                        node.prepend(paragraph);
                    }
                }
                let list = node.parent().and_then(|list| match &list.data().value {
                    NodeValue::List(list) => Some(*list),
                    _ => None,
                });
                node.data_mut().value = NodeValue::Item(list.unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// Makes a link of a picture, with its description as the words; inside a link only the words stay.
fn unload_image<'a>(arena: &'a Arena<'a>, node: Node<'a>, link: Box<comrak::nodes::NodeLink>) {
    if node.first_child().is_none() {
        let words = NodeValue::Text(link.url.clone().into());
        node.append(arena.alloc(AstNode::from(words)));
    }
    let inside_link = node
        .ancestors()
        .skip(1)
        .any(|above| matches!(above.data().value, NodeValue::Link(_)));
    node.data_mut().value = if inside_link {
        NodeValue::Emph
    } else {
        NodeValue::Link(link)
    };
}

/// A string that refuses to grow over [`RENDER_BYTES_MAX`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > RENDER_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

static OPTIONS: LazyLock<Options<'static>> = LazyLock::new(|| Options {
    extension: Extension {
        strikethrough: true,
        table: true,
        autolink: true,
        tasklist: true,
        ..Extension::default()
    },
    render: Render {
        // What looks like HTML is what somebody wrote about HTML: show it.
        escape: true,
        ..Render::default()
    },
    ..Options::default()
});

static SANITISER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(HashSet::from([
            "a",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "li",
            "ol",
            "p",
            "pre",
            "strong",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ]))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("ol", HashSet::from(["start"])),
            ("th", HashSet::from(["align"])),
            ("td", HashSet::from(["align"])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .strip_comments(true);
    builder
});

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
