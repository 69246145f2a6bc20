//! The `date` header, written once a second and thread instead of once a request.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use member::unix_millis;
use model::Time;
use std::cell::RefCell;
use std::time::Duration;

struct Line {
    /// From then on another second is to be written.
    until: Time,
    text: Vec<u8>,
}

thread_local! {
    static LINE: RefCell<Line> = const { RefCell::new(Line { until: Time::ZERO, text: Vec::new() }) };
}

/// Appends the line and the empty line that ends a head. `now` is a reading of the boot-time clock.
pub(crate) fn write_date(now: Time, output: &mut Vec<u8>) {
    LINE.with_borrow_mut(|line| {
        if now >= line.until {
            renew(line, now);
        }
        output.extend_from_slice(&line.text);
    });
}

fn renew(line: &mut Line, now: Time) {
    let millis = unix_millis().0;
    line.until = now + Duration::from_millis(1_000 - millis % 1_000);
    line.text.clear();
    let wall = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    // A clock beyond the year 9999 has no such text; without a clock there is no such header (RFC 9110, 6.6.1).
    if let Some(Ok(text)) = wall.map(|wall| DateTimePrinter::new().timestamp_to_rfc9110_string(&wall)) {
        line.text.extend_from_slice(format!("date: {text}\r\n").as_bytes());
    }
    line.text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use member::boottime;

    #[test]
    fn the_line_is_a_date_and_ends_the_head() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        write_date(boottime(), &mut first);
        write_date(boottime() + Duration::from_secs(2), &mut second);
        for line in [first, second] {
            let line = String::from_utf8(line).expect("the line is text");
            let date = line.strip_prefix("date: ").and_then(|line| line.strip_suffix(" GMT\r\n\r\n"));
            assert!(date.is_some_and(|date| date.len() == 25), "{line:?}");
        }
    }
}
