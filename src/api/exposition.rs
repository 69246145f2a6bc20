//! Metrics as text: the exposition format 0.0.4 of Prometheus.

use std::fmt::{Display, Write};
use std::time::Duration;

/// Metric families as text. A family without samples leaves no line.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A family of figures that go up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        Family { text: &mut self.0, name, help, kind: Some("gauge") }
    }

    /// A figure that goes up and down, without labels.
    pub fn value(&mut self, name: &'static str, help: &'static str, value: impl Display) {
        self.gauge(name, help).sample(&[], value);
    }

    /// 1 for what is so, and 0 for what is not.
    pub fn flag(&mut self, name: &'static str, help: &'static str, is: bool) {
        self.value(name, help, u8::from(is));
    }

    /// A family of figures that only go up.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        Family { text: &mut self.0, name, help, kind: Some("counter") }
    }

    /// A family of distributions.
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        Family { text: &mut self.0, name, help, kind: Some("histogram") }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    help: &'static str,
    /// Until the first sample.
    kind: Option<&'static str>,
}

impl Family<'_> {
    /// One figure of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// A figure for each thing that has one, with its name as `label`.
    pub fn each(&mut self, label: &str, samples: impl IntoIterator<Item = (impl Display, Option<impl Display>)>) {
        for (name, value) in samples {
            if let Some(value) = value {
                self.sample(&[(label, &name.to_string())], value);
            }
        }
    }

    /// One distribution of the family: how many were no larger than each end of a class, how many there were, and
    /// their sum.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        classes: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: Duration,
    ) {
        for (end, within) in classes {
            let end = end.to_string();
            self.line("_bucket", &[labels, &[("le", &end)]].concat(), within);
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), count);
        self.line("_sum", labels, sum.as_secs_f64());
        self.line("_count", labels, count);
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], value: impl Display) {
        // Writing to a string does not fail.
        if let Some(kind) = self.kind.take() {
            let _ = writeln!(self.text, "# HELP {0} {1}\n# TYPE {0} {kind}", self.name, self.help);
        }
        self.text.push_str(self.name);
        self.text.push_str(ending);
        for (position, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{}\"", if position == 0 { '{' } else { ',' }, escaped(value));
        }
        self.text.push_str(if labels.is_empty() { "" } else { "}" });
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_once_with_all_their_samples() {
        let mut text = Exposition::default();
        text.gauge("empty", "Nothing.");
        let mut family = text.counter("hits_total", "Hits.");
        family.sample(&[("a", "x\"\\\n"), ("b", "y")], 1);
        family.sample(&[], 0.25);
        let expected = "# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total{a=\"x\\\"\\\\\\n\",b=\"y\"} 1\nhits_total 0.25\n";
        assert_eq!(text.0, expected);
    }

    #[test]
    fn a_distribution_has_its_classes_its_sum_and_its_count() {
        let mut text = Exposition::default();
        let classes = [(0.001, 1), (0.5, 2)].into_iter();
        text.histogram("t_seconds", "Times.").histogram(&[("p", "x")], classes, 3, Duration::from_millis(2_500));
        let lines: Vec<&str> = text.0.lines().skip(1).collect();
        let expected = [
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{p=\"x\",le=\"0.001\"} 1",
            "t_seconds_bucket{p=\"x\",le=\"0.5\"} 2",
            "t_seconds_bucket{p=\"x\",le=\"+Inf\"} 3",
            "t_seconds_sum{p=\"x\"} 2.5",
            "t_seconds_count{p=\"x\"} 3",
        ];
        assert_eq!(lines, expected);
    }
}
