//! Durations as people write them: `500ms`, `4s`, `2m`, `1h`, and plain seconds.

use std::time::Duration;

/// Reads a duration; the error is for the person who wrote it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("the units are ms, s, m and h".into()),
    };
    let number: f64 = number.parse().map_err(|_| "a number and a unit, such as 500ms, 4s or 2m")?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| "longer than can be counted".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_units_and_none() {
        let read = |text| parse(text).unwrap();
        assert_eq!(read("500ms"), Duration::from_millis(500));
        assert_eq!(read("4s"), Duration::from_secs(4));
        assert_eq!(read("1.5"), Duration::from_millis(1500));
        assert_eq!(read("2m"), Duration::from_secs(120));
        assert_eq!(read("1h"), Duration::from_secs(3600));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "4 s", "4d", "1.2.3s", "1e3", "99999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
