//! A table of what was measured and what is asked for.

/// One line.
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) measured: String,
    pub(crate) required: String,
    /// None where nothing is asked for.
    pub(crate) holds: Option<bool>,
}

/// The table, with each column as wide as it has to be.
pub(crate) fn table(rows: &[Row]) -> String {
    let verdict = |holds| match holds {
        Some(true) => "holds",
        Some(false) => "MISSED",
        None => "",
    };
    let head = ["case", "measured", "required", ""].map(str::to_owned);
    let lines: Vec<[String; 4]> =
        std::iter::once(head)
            .chain(rows.iter().map(|row| {
                [row.case.clone(), row.measured.clone(), row.required.clone(), verdict(row.holds).to_owned()]
            }))
            .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |cells: &[String; 4]| {
        let padded: String = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        format!("{padded}{}", cells[3]).trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}
