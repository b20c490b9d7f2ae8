//! Numbers as a person reads them, and as a test does.

/// What is shown in place of a value that is no number.
pub(super) const NO_NUMBER: &str = "–";
/// Below this a decimal fraction has more zeros than anybody counts.
const FRACTION_MIN: f64 = 1e-6;

/// Three significant digits; whole from 1000 on, with narrow spaces between thousands.
pub(super) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return NO_NUMBER.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() < FRACTION_MIN {
        return format!("{value:.2e}");
    }
    // The exponent is that of the rounded value: 9.999 is 10.0.
    let rounded = format!("{value:.2e}");
    let exponent: i32 = rounded.split_once('e').and_then(|(_, it)| it.parse().ok()).unwrap_or(0);
    let decimals = usize::try_from(2 - exponent).unwrap_or(0);
    thousands(&format!("{value:.decimals$}"))
}

/// The same without zeros that say nothing, for ticks of an axis.
pub(super) fn short(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A whole number with narrow spaces between thousands.
pub(super) fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn thousands(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(one, two)| (one, Some(two)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |it| ("-", it));
    let mut text = sign.to_owned();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && whole.len() > 4 && (whole.len() - i) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// A time: milliseconds below a second.
pub(super) fn seconds(value: f64) -> String {
    let (value, unit) = in_unit(value, value);
    format!("{}\u{a0}{unit}", significant(value))
}

/// The same for ticks of an axis.
pub(super) fn seconds_short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (value, unit) = in_unit(value, value);
    format!("{}\u{a0}{unit}", short(value))
}

/// Two times in the unit of the greater.
pub(super) fn seconds_between(low: f64, high: f64) -> String {
    let (_, unit) = in_unit(high, high);
    let (low, _) = in_unit(low, high);
    let (high, _) = in_unit(high, high);
    format!("{}–{}\u{a0}{unit}", significant(low), significant(high))
}

/// `by` decides which unit it is.
fn in_unit(value: f64, by: f64) -> (f64, &'static str) {
    // 0.9996 s would be "1000 ms".
    if by.abs() < 0.9995 { (value * 1000.0, "ms") } else { (value, "s") }
}

/// US dollars: cents from one dollar on, three significant digits below.
pub(super) fn dollars(value: f64) -> String {
    if !value.is_finite() {
        return NO_NUMBER.to_owned();
    }
    if value.abs() >= 0.9995 {
        format!("${}", thousands(&format!("{value:.2}")))
    } else {
        format!("${}", significant(value))
    }
}

/// The same for ticks of an axis.
pub(super) fn dollars_short(value: f64) -> String {
    format!("${}", short(value))
}

/// A share, 0 to 1, in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{}\u{a0}%", short(share * 100.0))
}

/// One thing, two things.
pub(super) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", count(number), if number == 1 { one } else { many })
}

/// A moment by RFC 3339 to the minute; anything else as it is.
pub(super) fn moment(text: &str) -> String {
    let looks_so = |it: &str| {
        it.is_ascii()
            && it.len() >= 17
            && it.as_bytes()[10] == b'T'
            && it.as_bytes()[13] == b':'
            && it.ends_with('Z')
    };
    if looks_so(text) { format!("{} {} UTC", &text[..10], &text[11..16]) } else { text.to_owned() }
}

/// The interval that has the true share in it with 95 % confidence, by Wilson: it holds at 0 of 5 too.
pub(super) fn wilson(part: u64, whole: u64) -> Option<(f64, f64)> {
    const Z: f64 = 1.959_963_984_540_054;
    if whole == 0 {
        return None;
    }
    let (part, whole) = (part.min(whole) as f64, whole as f64);
    let share = part / whole;
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * whole)) / (1.0 + z2 / whole);
    let half = Z / (1.0 + z2 / whole) * (share * (1.0 - share) / whole + z2 / (4.0 * whole * whole)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// A share; nothing of nothing has none.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_say_it() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1.00"),
            (9.999, "10.0"),
            (12.345, "12.3"),
            (999.6, "1000"),
            (0.001_234_5, "0.00123"),
            (1234.5, "1234"),
            (1_234_567.0, "1\u{202f}234\u{202f}567"),
            (-12_345.0, "-12\u{202f}345"),
            (1e-9, "1.00e-9"),
            (f64::NAN, NO_NUMBER),
            (f64::INFINITY, NO_NUMBER),
        ] {
            assert_eq!(significant(value), text, "{value}");
        }
        assert_eq!(
            (short(1.0), short(1.5), short(100.0), short(0.25)),
            ("1".into(), "1.5".into(), "100".into(), "0.25".into())
        );
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (value, text) in [
            (0.0123, "12.3 ms"),
            (0.312, "312 ms"),
            (0.9996, "1.00 s"),
            (12.34, "12.3 s"),
            (0.000_2, "0.200 ms"),
        ] {
            assert_eq!(seconds(value).replace('\u{a0}', " "), text);
        }
        assert_eq!(seconds_between(0.3, 0.33).replace('\u{a0}', " "), "300–330 ms");
        assert_eq!(seconds_between(0.95, 1.05).replace('\u{a0}', " "), "0.950–1.05 s");
        assert_eq!(seconds_short(0.2).replace('\u{a0}', " "), "200 ms");
    }

    #[test]
    fn money_is_never_rounded_to_nothing() {
        for (value, text) in
            [(12.345, "$12.35"), (0.0, "$0"), (0.000_123_4, "$0.000123"), (12_345.0, "$12\u{202f}345.00")]
        {
            assert_eq!(dollars(value), text);
        }
    }

    #[test]
    fn no_errors_of_few_is_not_certainly_none() {
        let (low, high) = wilson(0, 5).unwrap();
        assert!(low == 0.0 && high > 0.4 && high < 0.5, "{low} {high}");
        assert_eq!(wilson(0, 0), None);
        let (low, high) = wilson(9, 5).unwrap();
        assert!(low > 0.5 && high == 1.0);
    }

    #[test]
    fn moments_are_read_by_people() {
        assert_eq!(moment("2026-11-23T06:12:33.123Z"), "2026-11-23 06:12 UTC");
        for other in ["", "yesterday", "2026-11-23T06:12:33+01:00", "ééééééééééééééééééZ"] {
            assert_eq!(moment(other), other);
        }
    }
}
