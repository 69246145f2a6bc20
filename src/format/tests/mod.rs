//! Bytes that each version wrote are read back, taken in, given out and written again: byte for byte.

mod golden;
mod kinds;
mod refused;
mod words;

/// A line of postcard: a name, the bytes, and what they mean, in JSON, where words and fields have names. Without that a form
/// with two words in each other's place would read what it writes, and nobody else would.
struct Bytes {
    name: &'static str,
    bytes: &'static [u8],
}

impl Bytes {
    fn of(line: &'static str) -> Self {
        let mut parts = line.splitn(3, ' ');
        let [name, digits] = std::array::from_fn(|_| parts.next().expect("three parts"));
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect();
        Self { name, bytes: bytes.leak() }
    }

    /// The line of a form.
    fn line(name: &str, form: &impl serde::Serialize) -> String {
        let bytes = postcard::to_stdvec(form).expect("bytes");
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {digits} {}", json(form))
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
