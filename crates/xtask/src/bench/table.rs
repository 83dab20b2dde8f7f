//! Tables that read well as plain text and as Markdown.

/// Rows under a header, padded so that the columns line up; the first column left-aligned, the others right-aligned.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .chain([header[column].chars().count(), 3])
            .max()
            .unwrap_or(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| {
                let cell = cells.get(column).copied().unwrap_or_default();
                if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        format!("| {} |\n", padded.join(" | "))
    };
    let mut text = line(header);
    let rules: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => format!("{}:", "-".repeat(width - 1)),
        })
        .collect();
    text.push_str(&line(&rules.iter().map(String::as_str).collect::<Vec<_>>()));
    for row in rows {
        text.push_str(&line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    text
}

/// Three significant digits, without an exponent: `1234`, `12.3`, `0.0456`; a dash for nothing.
pub fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".into();
    };
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0);
    format!("{value:.decimals$}")
}

/// `1.23×`, or a dash.
pub fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.2}×"))
}

/// `45 %`, or a dash.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.0} %", share * 100.0))
}

/// Bytes as `123 MiB`.
pub fn mebibytes(bytes: Option<f64>) -> String {
    bytes.map_or_else(
        || "–".into(),
        |bytes| format!("{:.0} MiB", bytes / f64::from(1 << 20)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "10.5".to_owned()],
            vec!["long".to_owned(), "9×".to_owned()],
        ];
        let expected = "\
| name | tok/s |
| ---- | ----: |
| a    |  10.5 |
| long |    9× |
";
        assert_eq!(table(&["name", "tok/s"], &rows), expected);
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (1234.4, "1234"),
            (112.34, "112"),
            (12.345, "12.3"),
            (1.5, "1.50"),
            (0.045_67, "0.0457"),
            (0.0, "0"),
        ] {
            assert_eq!(number(Some(value)), text);
        }
        assert_eq!(number(None), "–");
        assert_eq!(ratio(Some(2.0)), "2.00×");
        assert_eq!(percent(Some(0.456)), "46 %");
        assert_eq!(mebibytes(Some(1_048_576.0)), "1 MiB");
    }
}
