//! The answers, prompt by prompt and target beside target.

use super::Page;
use super::number::{count, dollars, percent, plural, seconds};
use super::text::{escape, json_in_lines, name};
use crate::record::CallLine;
use crate::report::{AnswerReport, Difference, Piece, PromptReport};

/// So much of a text is shown at once; the rest is folded.
const TEXT_CHARS_OPEN: usize = 1200;
/// Text that is little longer is shown whole.
const TEXT_CHARS_MORE: usize = 300;

pub(super) fn section(page: &Page<'_>) -> String {
    let prompts = &page.report.prompts;
    if prompts.is_empty() {
        return String::new();
    }
    let differing = prompts.iter().filter(|it| differs(it)).count();
    let left_out = match page.report.prompts_left_out {
        0 => String::new(),
        some => format!(" {} more {} not shown here.", count(some), if some == 1 { "is" } else { "are" }),
    };
    let mut body = format!(
        "<p>{}; answers differ in {}.{left_out} Each target’s first answer is shown. <ins>Marked like this</ins> is what the first \
         target’s answer does not say.</p>\n\
         <form class=\"control filter\" role=\"search\" hidden><label>Search <input type=\"search\" id=\"search\" autocomplete=\"off\" \
         spellcheck=\"false\"></label><label class=\"check\"><input type=\"checkbox\" id=\"differing\"> only prompts whose answers \
         differ</label><output id=\"found\" aria-live=\"polite\"></output></form>\n",
        plural(prompts.len() as u64, "prompt", "prompts"),
        count(differing as u64),
    );
    for (i, it) in prompts.iter().enumerate() {
        prompt(page, i, it, &mut body);
    }
    body
}

/// Whether somebody says something else than the first, or nothing where others answer.
fn differs(prompt: &PromptReport) -> bool {
    let is_other =
        |it: &AnswerReport| matches!(it.difference, Some(Difference::Text(_) | Difference::Calls(_)));
    let failed = prompt.answers.iter().filter(|it| it.error.is_some()).count();
    prompt.answers.iter().any(is_other) || (failed > 0 && failed < prompt.answers.len())
}

fn prompt(page: &Page<'_>, at: usize, prompt: &PromptReport, body: &mut String) {
    let mut asked = String::new();
    for (role, text) in &prompt.messages {
        asked.push_str(&format!(
            "<div class=\"message\"><p class=\"role\">{}</p>{}</div>\n",
            name(role),
            long(&[Piece { text: text.clone(), is_new: false }])
        ));
    }
    if let Some(expected) = &prompt.expected {
        asked.push_str(&format!(
            "<div class=\"message expected\"><p class=\"role\">expected</p>{}</div>\n",
            long(&[Piece { text: expected.clone(), is_new: false }])
        ));
    }
    let first = prompt.answers.first().and_then(|it| page.report.targets.get(it.target));
    let first = first.map_or_else(|| "the first".to_owned(), |it| page.name(it));
    let answers: String = prompt.answers.iter().map(|it| answer(page, it, &first)).collect();
    let differs = differs(prompt);
    // Prompts without a name are called by their numbers.
    let number = at + 1;
    let heading = if prompt.name.is_empty() || prompt.name == number.to_string() {
        format!("Prompt {number}")
    } else {
        format!("<span class=\"no\">{number}</span> {}", name(&prompt.name))
    };
    body.push_str(&format!(
        "<article class=\"prompt\" id=\"prompt-{number}\" data-differs=\"{differs}\" aria-labelledby=\"prompt-{number}-h\">\n\
         <h3 id=\"prompt-{number}-h\">{heading}</h3>\n<div class=\"asked\">\n{asked}</div>\n\
         <div class=\"answers\" role=\"group\" tabindex=\"0\" aria-label=\"Answers to prompt {number}\">\n{answers}</div>\n</article>\n",
    ));
}

fn answer(page: &Page<'_>, answer: &AnswerReport, first: &str) -> String {
    let mut facts = Vec::new();
    facts.extend(answer.total.map(seconds));
    if let Some(time) = answer.first_token {
        facts.push(format!("first token {}", seconds(time)));
    }
    if let Some(tokens) = answer.tokens {
        facts.push(plural(tokens, "token", "tokens"));
    }
    facts.push(answer.cost.map_or_else(|| "cost unknown".to_owned(), dollars));
    facts.extend(answer.finish_reason.as_ref().map(|it| name(it)));
    let facts: String = facts.iter().map(|it| format!("<li>{it}</li>")).collect();
    let mut notes = String::new();
    let mut note =
        |class: &str, text: &str| notes.push_str(&format!("<p class=\"note {class}\">{text}</p>\n"));
    match &answer.difference {
        Some(Difference::Same) => note("same", &format!("The same as {first}")),
        Some(Difference::SameJson) => note("same", &format!("The same JSON as {first}, written otherwise")),
        Some(Difference::Text(share)) => {
            note("other", &format!("{} of the words in common with {first}", percent(round(*share))));
        }
        Some(Difference::Calls(how)) => {
            note("other", &format!("Calls of tools differ from {first}’s: {}", name(how)));
        }
        None => {}
    }
    if let Some((score, why)) = &answer.score {
        let why = if why.is_empty() { String::new() } else { format!(" — {}", name(why)) };
        note("score", &format!("Score <b>{score:.2}</b>{why}"));
    }
    match answer.json_fault.as_deref() {
        Some("") => note("good", "Valid JSON"),
        Some(fault) => note("bad", &format!("Not the JSON that was asked for: {}", name(fault))),
        None => {}
    }
    let (different, of) = answer.variety;
    if of > 1 {
        note(
            "variety",
            &format!("{} of {}", plural(different, "different answer", "different answers"), count(of)),
        );
    }
    let mut content = String::new();
    if let Some(error) = &answer.error {
        content.push_str(&format!("<p class=\"error\"><b>No answer:</b> {}</p>\n", name(error)));
    }
    if answer.pieces.iter().any(|it| !it.text.is_empty()) {
        content.push_str(&long(&answer.pieces));
    } else if answer.error.is_none() && answer.calls.is_empty() {
        content.push_str("<p class=\"unknown\">An answer without text.</p>\n");
    }
    content.extend(answer.calls.iter().map(call));
    format!(
        "<section class=\"answer{}\">\n<h4>{}</h4>\n<ul class=\"facts\">{facts}</ul>\n{notes}{content}</section>\n",
        if answer.error.is_some() { " failed" } else { "" },
        page.label(answer.target),
    )
}

/// A share to a whole per cent, but never to all or nothing.
fn round(share: f64) -> f64 {
    let whole = (share * 100.0).round() / 100.0;
    if (whole <= 0.0 || whole >= 1.0) && share > 0.0 && share < 1.0 { share } else { whole }
}

fn call(call: &CallLine) -> String {
    let (arguments, note) = match json_in_lines(&call.arguments) {
        Some(lines) => (lines, String::new()),
        None if call.arguments.is_empty() => {
            (String::new(), "<p class=\"note\">Without arguments</p>".to_owned())
        }
        None => (call.arguments.clone(), "<p class=\"note bad\">The arguments are no JSON</p>".to_owned()),
    };
    let fault = if call.fault.is_empty() {
        String::new()
    } else {
        format!("<p class=\"note bad\">{}</p>", name(&call.fault))
    };
    let arguments = if arguments.is_empty() { arguments } else { code(&arguments) };
    format!(
        "<div class=\"call\"><p class=\"tool\">calls <code>{}</code></p>{arguments}{note}{fault}</div>\n",
        name(&call.name)
    )
}

/// Text of a machine, folded when it is long.
pub(super) fn code(text: &str) -> String {
    let (shown, rest) = split(text, TEXT_CHARS_OPEN);
    let folded = if rest.is_empty() {
        String::new()
    } else {
        let more = rest.chars().count() as u64;
        format!("<details><summary>{}</summary><pre>{}</pre></details>", more_of(more), escape(rest))
    };
    format!("<pre>{}</pre>{folded}", escape(shown))
}

/// Text of a person or a model, folded when it is long, with what is new in it marked.
fn long(pieces: &[Piece]) -> String {
    let all: usize = pieces.iter().map(|it| it.text.chars().count()).sum();
    let mut left = if all <= TEXT_CHARS_OPEN + TEXT_CHARS_MORE { usize::MAX } else { TEXT_CHARS_OPEN };
    let mut shown = String::new();
    let mut folded = String::new();
    let mut folded_chars = 0_u64;
    for piece in pieces {
        let (one, other) = if left == 0 { ("", piece.text.as_str()) } else { split(&piece.text, left) };
        left = if other.is_empty() { left.saturating_sub(one.chars().count()) } else { 0 };
        mark(&mut shown, one, piece.is_new);
        mark(&mut folded, other, piece.is_new);
        folded_chars += other.chars().count() as u64;
    }
    let folded = if folded.is_empty() {
        folded
    } else {
        format!(
            "<details><summary>{}</summary><div class=\"text\" dir=\"auto\">{folded}</div></details>\n",
            more_of(folded_chars)
        )
    };
    format!("<div class=\"text\" dir=\"auto\">{shown}</div>\n{folded}")
}

fn more_of(chars: u64) -> String {
    format!("{} more", plural(chars, "character", "characters"))
}

fn mark(into: &mut String, text: &str, is_new: bool) {
    if text.is_empty() {
        return;
    }
    let text = escape(text);
    // White space alone is nothing new, and a mark on it is noise.
    if is_new && !text.trim().is_empty() {
        into.push_str(&format!("<ins>{text}</ins>"));
    } else {
        into.push_str(&text);
    }
}

/// Text up to about so many characters, at the end of a word where there is one, and the rest.
fn split(text: &str, chars_max: usize) -> (&str, &str) {
    let Some((end, _)) = text.char_indices().nth(chars_max) else {
        return (text, "");
    };
    let head = &text[..end];
    let space = head.rfind(char::is_whitespace).filter(|it| *it > end / 2);
    // After the space, which is one character wherever it is.
    let at = space.map_or(end, |it| it + head[it..].chars().next().map_or(0, char::len_utf8));
    text.split_at(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: impl Into<String>, is_new: bool) -> Piece {
        Piece { text: text.into(), is_new }
    }

    #[test]
    fn long_text_is_folded_and_nothing_is_lost() {
        let text = "wörter und wörter ".repeat(200);
        let folded = long(&[piece(&text, false), piece("the end", true)]);
        assert!(folded.contains("<details>") && folded.contains("<ins>the end</ins>"), "{folded}");
        let stripped = folded
            .replace("</div>\n<details><summary>", "\u{1}")
            .replace("</summary><div class=\"text\" dir=\"auto\">", "\u{2}");
        let (head, rest) = stripped.split_once('\u{1}').unwrap();
        let (_, rest) = rest.split_once('\u{2}').unwrap();
        let head = head.trim_start_matches("<div class=\"text\" dir=\"auto\">");
        let rest = rest.split_once("<ins>").unwrap().0;
        assert_eq!(format!("{head}{rest}"), text);
    }

    #[test]
    fn short_text_is_not_folded() {
        assert!(!long(&[piece("a".repeat(TEXT_CHARS_OPEN + TEXT_CHARS_MORE), false)]).contains("<details>"));
        assert!(
            long(&[piece("a".repeat(TEXT_CHARS_OPEN + TEXT_CHARS_MORE + 1), false)]).contains("<details>")
        );
    }

    #[test]
    fn text_is_split_between_characters() {
        assert_eq!(split("日本語", 2), ("日本", "語"));
        assert_eq!(split("one two three", 9), ("one two ", "three"));
        assert_eq!(split("short", 9), ("short", ""));
    }

    #[test]
    fn a_call_whose_arguments_are_no_json_says_so() {
        let broken = CallLine { name: "find".into(), arguments: "{\"a\":".into(), fault: String::new() };
        assert!(call(&broken).contains("no JSON"));
    }
}
