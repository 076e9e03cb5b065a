//! Values as they may be shown: enough to recognise one's own, never enough to use.

/// Shorter values show nothing of themselves, in characters.
const SHOWN_FROM: usize = 12;

/// The first and the last two characters of a long value, nothing of a short one. Its length is not told.
pub fn masked(value: &str) -> String {
    let chars: Vec<char> = value.chars().collect();
    match chars.as_slice() {
        [a, b, .., y, z] if chars.len() >= SHOWN_FROM => format!("{a}{b}…{y}{z}"),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn at_most_four_characters_are_shown() {
        for (value, expect) in [
            ("", "…"),
            ("hunter2", "…"),
            ("12345678901", "…"),
            ("123456789012", "12…12"),
            ("éééééééééééééé", "éé…éé"),
        ] {
            assert_eq!(masked(value), expect, "{value}");
        }
    }
}
