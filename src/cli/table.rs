//! Tables without lines, as programs of this kind print them: columns two spaces apart.

use comfy_table::{ContentArrangement, Table, presets};

/// The rows below their header, without spaces at the ends of lines.
pub(super) fn text<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_two_spaces_apart() {
        let rows = [["1".to_owned(), "two".to_owned()], ["3".to_owned(), String::new()]];
        assert_eq!(super::text(["A", "B"], rows), "A  B\n1  two\n3");
    }
}
