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
    let line =
        |row: &Row| [row.case.clone(), row.measured.clone(), row.required.clone(), verdict(row.holds).to_owned()];
    terminal::table(["case", "measured", "required", ""], rows.iter().map(line))
}
