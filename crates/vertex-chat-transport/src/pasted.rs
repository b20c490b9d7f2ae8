//! Values as people paste them.

/// A value without what surrounds it when it was pasted: blanks, line ends, and one pair of quotes.
///
/// ```
/// use vertex_chat_transport::without_surroundings;
///
/// assert_eq!(without_surroundings(" \"http://proxy:3128\"\r\n"), "http://proxy:3128");
/// assert_eq!(without_surroundings("it's"), "it's");
/// ```
#[must_use]
pub fn without_surroundings(value: &str) -> &str {
    let value = value.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    unquoted.map_or(value, str::trim)
}
