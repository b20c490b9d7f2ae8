//! Text of strangers in HTML: escaped, and nothing in it that cannot be seen.

use std::fmt::Write as _;

/// Names in a drawing are cut to so many columns; the whole name is beside it.
pub(super) const NAME_COLUMNS_MAX: usize = 34;

/// Names in sentences and tables are cut to so many.
const SHORT_COLUMNS_MAX: usize = 56;

/// Text for an element or a quoted attribute. Control characters become pictures, and what turns or hides text its number.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            // Windows' ends of lines look like the others.
            '\r' if rest.peek() == Some(&'\n') => {}
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => out.push('\u{2421}'),
            _ if is_unseen(c) => {
                let _ = write!(out, "⟨U+{:04X}⟩", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// Controls of C1, marks of direction, characters without width that join nothing, tags, and what is no character.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// A name within a sentence or a cell: its direction is its own.
pub(super) fn name(text: &str) -> String {
    format!("<bdi>{}</bdi>", escape(text))
}

/// A name where there is no room for a long one: that is cut, and whole where somebody points at it.
pub(super) fn short_name(text: &str) -> String {
    if columns(text) <= SHORT_COLUMNS_MAX {
        return name(text);
    }
    format!("<bdi title=\"{}\">{}</bdi>", escape(text), escape(&cut(text, SHORT_COLUMNS_MAX)))
}

/// A name of at most so many columns, where East Asian characters take two. The middle is left out: names of models differ
/// at their ends.
pub(super) fn cut(text: &str, columns_max: usize) -> String {
    if columns(text) <= columns_max {
        return text.to_owned();
    }
    let for_head = columns_max.saturating_sub(1).div_ceil(2);
    let for_tail = columns_max.saturating_sub(1 + for_head);
    let fitting = |chars: &mut dyn Iterator<Item = char>, columns_max: usize| -> Vec<char> {
        let mut columns = 0;
        let fits = chars.take_while(|c| {
            columns += width(*c);
            columns <= columns_max
        });
        fits.collect()
    };
    let mut cut: String = fitting(&mut text.chars(), for_head).into_iter().collect();
    cut.push('…');
    cut.extend(fitting(&mut text.chars().rev(), for_tail).into_iter().rev());
    cut
}

/// How wide text is, about, in columns.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match c {
        // What is written as its number.
        _ if is_unseen(c) => 8,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3ffff}' => 2,
        _ => 1,
    }
}

/// JSON in lines, its words as they came; `None` when it is none.
///
/// It is cut at the marks and not read into a value: numbers keep their digits and members their order.
pub(super) fn json_in_lines(text: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut rest = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        // serde_json reads no deeper than 128.
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                out.push(c);
                let mut escaped = false;
                for c in rest.by_ref() {
                    out.push(c);
                    if c == '"' && !escaped {
                        break;
                    }
                    escaped = c == '\\' && !escaped;
                }
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = rest.next_if(|it| matches!(it, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ if c.is_ascii_whitespace() => {}
            _ => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_is_markup() {
        assert_eq!(
            escape("</script><img src=x onerror='a&b\"'>"),
            "&lt;/script&gt;&lt;img src=x onerror=&#39;a&amp;b&quot;&#39;&gt;"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(escape("a\0\u{1b}[31m\u{7f}\tb\r\nc\rd"), "a␀␛[31m␡\tb\nc␍d");
        assert_eq!(
            escape("\u{202e}exe.txt\u{2069}\u{200b}\u{e0041}\u{ffff}"),
            "⟨U+202E⟩exe.txt⟨U+2069⟩⟨U+200B⟩⟨U+E0041⟩⟨U+FFFF⟩"
        );
        // Emoji of a family are joined by U+200D and stay whole.
        assert_eq!(escape("👩\u{200d}👧"), "👩\u{200d}👧");
    }

    #[test]
    fn long_names_are_cut_by_columns() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("a-model-7b-2", 7), "a-m…b-2");
        assert_eq!(cut("日本語です", 6), "日…す");
        assert_eq!(cut("longer", 0), "…");
    }

    #[test]
    fn json_keeps_its_words() {
        assert_eq!(
            json_in_lines(r#"{"b": 1.0e5,"a":[ ],"c":[1,{"d":"x,\"{y"}]}"#).unwrap(),
            "{\n  \"b\": 1.0e5,\n  \"a\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x,\\\"{y\"\n    }\n  ]\n}"
        );
        assert_eq!(json_in_lines("{\"a\":").as_deref(), None);
        assert_eq!(json_in_lines("null").unwrap(), "null");
    }
}
