//! Hostile and heavy texts.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn html(text: &str) -> String {
    Renderer::default().render(text).as_str().to_owned()
}

#[test]
fn ordinary_markdown_looks_as_expected() {
    for (text, expected) in [
        (
            "a *b* **c** ~~d~~ `e`",
            "<p>a <em>b</em> <strong>c</strong> <del>d</del> <code>e</code></p>\n",
        ),
        ("# One\n\n###### Six", "<h3>One</h3>\n<h6>Six</h6>\n"),
        (
            "<https://a.example/?x=1&y>",
            "<p><a href=\"https://a.example/?x=1&amp;y\" rel=\"noopener noreferrer nofollow\">https://a.example/?x=1&amp;y</a></p>\n",
        ),
        (
            "see https://a.example.",
            "<p>see <a href=\"https://a.example\" rel=\"noopener noreferrer nofollow\">https://a.example</a>.</p>\n",
        ),
        ("> quoted", "<blockquote>\n<p>quoted</p>\n</blockquote>\n"),
        ("3. three", "<ol start=\"3\">\n<li>three</li>\n</ol>\n"),
        (
            "| a | b |\n|:--|--:|\n| 1 | 2 |",
            "<table>\n<thead>\n<tr>\n<th align=\"left\">a</th>\n<th align=\"right\">b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td align=\"left\">1</td>\n<td align=\"right\">2</td>\n</tr>\n</tbody>\n</table>\n",
        ),
        (
            "- [x] done\n- [ ] open",
            "<ul>\n<li>☑ done</li>\n<li>☐ open</li>\n</ul>\n",
        ),
        (
            "```rust\nlet a = 1 < 2;\n```",
            "<pre><code>let a = 1 &lt; 2;\n</code></pre>\n",
        ),
        ("a Vec<String> b", "<p>a Vec&lt;String&gt; b</p>\n"),
        ("", ""),
    ] {
        assert_eq!(html(text), expected, "{text}");
    }
}

#[test]
fn a_list_shows_the_words_alone() {
    let words = |text: &str| {
        plain_text(text)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        words("# Day *one*\n\nWe [left](https://a.example) `at` dawn\n- x\n- [x] y"),
        "Day one We left at dawn x y"
    );
    assert_eq!(words("> a\n\n| b | c |\n|-|-|\n| d | e |"), "a b c d e");
    assert_eq!(words(&"a ".repeat(10_000)).len(), 599);
}

#[test]
fn pictures_become_links_and_load_nothing() {
    assert_eq!(
        html("![a map](https://a.example/map.png)"),
        "<p><a href=\"https://a.example/map.png\" rel=\"noopener noreferrer nofollow\">a map</a></p>\n"
    );
    assert_eq!(
        html("![](https://a.example/map.png)"),
        "<p><a href=\"https://a.example/map.png\" rel=\"noopener noreferrer nofollow\">https://a.example/map.png</a></p>\n"
    );
    assert_eq!(
        html("[![badge](https://a.example/b.svg)](https://b.example)"),
        "<p><a href=\"https://b.example\" rel=\"noopener noreferrer nofollow\"><em>badge</em></a></p>\n"
    );
    assert!(!html("![x](data:image/svg+xml,<svg onload=alert(1)>)").contains("href"));
}

/// A task without words has no paragraph, and a mark that stood in the item itself was a document
/// that the formatter of a build with assertions refuses by a panic.
#[test]
fn a_task_without_words_keeps_its_mark() {
    for (text, expected) in [
        ("- [ ] \n-\n", "<ul>\n<li>☐ </li>\n<li></li>\n</ul>\n"),
        ("- [x] \n\n  a", "<ul>\n<li>\n<p>☑ a</p>\n</li>\n</ul>\n"),
    ] {
        assert_eq!(html(text), expected, "{text:?}");
    }
}

/// Tags and attributes that a browser would see. Our output is serialised by html5ever, so `<`
/// outside of a tag is always escaped.
fn assert_harmless(html: &str, from: &str) {
    const TAGS: [&str; 23] = [
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
    ];
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        assert!(TAGS.contains(&name), "<{tag}> from {from:?}");
        let mut rest = tag
            .trim_start_matches('/')
            .strip_prefix(name)
            .unwrap()
            .trim();
        while !rest.is_empty() && rest != "/" {
            let (attribute, after) = rest.split_once("=\"").expect("name=\"value\"");
            let (value, after) = after.split_once('"').expect("a closing quote");
            assert!(
                ["href", "title", "rel", "start", "align"].contains(&attribute),
                "{attribute} from {from:?}"
            );
            if attribute == "href" {
                let scheme = value.split(':').next().unwrap();
                assert!(
                    ["http", "https", "mailto"].contains(&scheme),
                    "{value} from {from:?}"
                );
            }
            rest = after.trim();
        }
    }
}

#[test]
fn hostile_texts_stay_harmless() {
    let payloads = [
        "<script>alert(1)</script>",
        "<ScRiPt src=//evil.example></sCrIpT>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<svg><animate onbegin=alert(1) attributeName=x>",
        "<svg><set attributeName=href to=javascript:alert(1)>",
        "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
        "<math><annotation-xml encoding=\"text/html\"><img src=x onerror=alert(1)>",
        "<iframe srcdoc=\"<script>alert(1)</script>\">",
        "<object data=javascript:alert(1)>",
        "<embed src=javascript:alert(1)>",
        "<body onload=alert(1)>",
        "<style>*{background:url(//evil.example)}</style>",
        "<link rel=stylesheet href=//evil.example>",
        "<meta http-equiv=refresh content=\"0;url=//evil.example\">",
        "<base href=//evil.example>",
        "<form action=//evil.example><input type=submit>",
        "<template><script>alert(1)</script></template>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<details open ontoggle=alert(1)>",
        "<video><source onerror=alert(1)>",
        "<marquee onstart=alert(1)>",
        "<input autofocus onfocus=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](java&#10;script:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](&#x6A;avascript&colon;alert(1))",
        "[x](vbscript:msgbox(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](\u{1}javascript:alert(1))",
        "[x]( javascript:alert(1))",
        "[x](//evil.example)",
        "[x](/settings)",
        "[x](#a)",
        "[x](?a)",
        "[x](file:///etc/passwd)",
        "[x](waymeet:abc)",
        "[x](https://a.example \"\" onmouseover=\"alert(1)\")",
        "[x](https://a.example '\"><script>alert(1)</script>')",
        "[a]: javascript:alert(1)\n[a]",
        "[a]: <java script:alert(1)>\n[a]",
        "<javascript:alert(1)>",
        "<https://a.example/\"onmouseover=alert(1)>",
        "![x\" onerror=\"alert(1)](https://a.example/x.png)",
        "![x](javascript:alert(1))",
        "![<script>alert(1)</script>](https://a.example)",
        "`<script>alert(1)</script>`",
        "```\n<script>alert(1)</script>\n```",
        "```\"><script>alert(1)</script>\nx\n```",
        "    <script>alert(1)</script>",
        "<!-- --><script>alert(1)</script>",
        "<!--><img src=x onerror=alert(1)>-->",
        "<![CDATA[<script>alert(1)</script>]]>",
        "<?php echo 1 ?>",
        "<!DOCTYPE html>",
        "| <script>alert(1)</script> |\n|--|\n| <img src=x onerror=alert(1)> |",
        "# <script>alert(1)</script>",
        "- [x] <script>alert(1)</script>",
        "> <script>\n> alert(1)\n> </script>",
        "*<script>*alert(1)*</script>*",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;script&#62;alert(1)",
        "\\<script>alert(1)",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=x style=\"position:fixed\">x</a>",
        "<div id=main class=nav style=color:red>x",
        "</article></main><script>alert(1)",
        "www.a.example\"onclick=alert(1)",
        "a@a.example\"><script>",
        "http://a.example/<script>alert(1)</script>",
        "\u{0}<scr\u{0}ipt>alert(1)</script>",
        "<x onclick=alert(1)>",
        "<p/onclick=alert(1)>",
        "<<script>alert(1)//<</script>",
        "<table><td background=javascript:alert(1)>",
        "<select><template><img src=x onerror=alert(1)>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        "<form><math><mtext></form><form><mglyph><svg><mtext><style><path id=\"</style><img onerror=alert(1) src>\">",
        "\u{202e}<script>alert(1)</script>",
        "[x](https://a.example\u{202e})",
        "<a name=cookie></a>",
        "<img name=getElementById>",
    ];
    let wrappings: [fn(&str) -> String; 6] = [
        |text| text.to_owned(),
        |text| format!("> - {text}"),
        |text| format!("a **b {text} c** d"),
        |text| format!("| {text} |\n|---|\n| {text} |"),
        |text| format!("[{text}](https://a.example \"{text}\")"),
        |text| format!("![{text}]({text} '{text}')"),
    ];
    for payload in payloads {
        for wrap in wrappings {
            let text = wrap(payload);
            let first = html(&text);
            assert_harmless(&first, &text);
            assert_eq!(
                SANITISER.clean(&first).to_string(),
                first,
                "cleaning twice changes nothing: {text:?}"
            );
        }
    }
}

/// Patterns for which Markdown parsers have been slow, each repeated up to the largest text.
#[test]
fn heavy_texts_are_bounded() {
    const BYTES: usize = engine::limits::TEXT_BYTES_MAX;
    let units = [
        "> ",
        "- ",
        "1. ",
        "* ",
        "#",
        "`",
        "``` ",
        "~~~\n",
        "*a ",
        "**a ",
        "*a_ ",
        "_a ",
        "~~a ",
        "[",
        "]",
        "[a](",
        "[a](<",
        "![",
        "![a](",
        "[a][",
        "[a]: b\n",
        "[a]\n",
        "[[a]",
        "[](",
        "<",
        "<a",
        "<a ",
        "<!--",
        "<?",
        "<![CDATA[",
        "&",
        "&a",
        "\\",
        "|",
        "|a",
        "|\n|-\n",
        "a|b\n-|-\n",
        "a\n=\n",
        "\n",
        " ",
        "\t",
        "- a\n ",
        "- [ ] ",
        "http://",
        "www.",
        "a@",
        "a@b.",
        "http://a.b/(",
        "www.a(",
        "\u{0}",
        "é",
        "𝄞",
        "*_",
        "**x*",
        "[^",
        "[^a]: ",
        "a  \n",
        "- - - a\n",
        ">\n",
        "`` ` ",
        "$$",
        "::: ",
        "<b>",
        "</b>",
        "((((",
        "!",
        "x\\\n",
        "\"",
        "'",
        "[x](<y>'",
        "[\\",
        "*`",
        "<http:",
        "&#1",
        "0. ",
    ];
    let mut texts: Vec<String> = units
        .iter()
        .map(|unit| unit.repeat(BYTES / unit.len()))
        .collect();
    let staircase: String = (0..400)
        .map(|n| format!("{}- a\n", " ".repeat(n)))
        .collect();
    let columns = "|a".repeat(8_000);
    let rule = "|-".repeat(8_000);
    texts.push(staircase);
    texts.push(format!("{columns}\n{rule}\n{}", "|\n".repeat(8_000)));
    texts.push(format!(
        "{}a{}",
        "*a **a ".repeat(4_000),
        "** *".repeat(4_000)
    ));
    texts.push(format!("{}{}", "[a](".repeat(8_000), ")".repeat(8_000)));
    texts.push((1..350).map(|n| "`".repeat(n) + "a ").collect());
    texts.push(format!(
        "[a]: {}\n{}",
        "b".repeat(30_000),
        "[a] ".repeat(8_000)
    ));
    texts.push("x".repeat(10 * 1024 * 1024));
    let mut slowest = (Duration::ZERO, String::new());
    for text in texts {
        let begin = Instant::now();
        let result = html(&text);
        let took = begin.elapsed();
        assert_harmless(&result, &text.chars().take(40).collect::<String>());
        assert!(
            result.len() <= RENDER_BYTES_MAX * 12 || text.len() > BYTES,
            "{} bytes",
            result.len()
        );
        if took > slowest.0 {
            slowest = (took, text.chars().take(20).collect());
        }
    }
    // Without optimisation; a release build takes about a tenth.
    assert!(slowest.0 < Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn too_deep_or_too_large_is_shown_as_it_was_written() {
    let deep = "> ".repeat(200) + "a";
    assert_eq!(html(&deep), format!("<pre>{}a</pre>", "&gt; ".repeat(200)));
    // Each cleaning took a line end away.
    let late = html(&format!("\n\r\n{deep}"));
    assert_eq!(late, html(&deep));
    assert_eq!(clean(&late), late);
    let large = "*a* ".repeat(engine::limits::BODY_BYTES_MAX / 4 + 1);
    assert!(html(&large).starts_with("<pre>*a* *a*"));
}

#[test]
fn the_cache_keeps_its_bound() {
    let renderer = Renderer::default();
    for n in 0..200 {
        renderer.render(&format!("{n} {}", "word ".repeat(12_000)));
    }
    let cache = renderer.lock();
    assert!(cache.bytes <= RENDER_CACHE_BYTES_MAX);
    assert_eq!(cache.order.len(), cache.rendered.len());
    assert_eq!(
        cache.bytes,
        cache
            .rendered
            .values()
            .map(|markup| markup.0.len())
            .sum::<usize>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_text_is_harmless(text in "([\\PC]|[<>&\"'\\[\\]()!*_`#|~:/\n-]|<script|javascript:|onerror=|\\]\\(|<svg|https://a){0,60}") {
        let first = html(&text);
        assert_harmless(&first, &text);
        prop_assert_eq!(SANITISER.clean(&first).to_string(), first);
    }
}
