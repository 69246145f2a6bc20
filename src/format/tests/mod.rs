//! What each version wrote is read back, taken in, given out and written again: byte for byte.

mod kinds;
mod newest;
mod refused;
mod version_5;
mod words;

/// A line of postcard: a name, the bytes, and what they mean, in JSON, where words and fields have names. Without that a form
/// with two words in each other's place would read what it writes, and nobody else would.
struct Bytes {
    name: &'static str,
    bytes: Vec<u8>,
    meaning: &'static str,
}

impl Bytes {
    fn of(line: &'static str) -> Self {
        let mut parts = line.splitn(3, ' ');
        let [name, digits, meaning] = std::array::from_fn(|_| parts.next().expect("three parts"));
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect();
        Self { name, bytes, meaning }
    }

    /// The line of these bytes with this meaning.
    fn line(name: &str, bytes: &[u8], meaning: &str) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {digits} {meaning}")
    }
}

fn json(form: &impl serde::Serialize) -> String {
    serde_json::to_string(form).expect("JSON")
}

/// The text of a file of lines, cut into them.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    assert!(text.ends_with('\n') && text.len() > 1, "a file of lines");
    text.lines()
}
