//! The places where models are served: this node's own configuration over what the agreed state says.

use http::Uri;
use model::{ModelId, ModelIdError};
use service::Model;
use std::collections::BTreeMap;
use std::str::FromStr;

/// A model server's URL, called as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream(Uri);

/// This node's model servers, as `CANARY_UPSTREAMS` or `--upstream` give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams(BTreeMap<ModelId, Upstream>);

/// A URL that no model can be served at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum UpstreamError {
    #[error("{0:?} is not a URL: write http://HOST:PORT/PATH")]
    NotAUrl(String),
    #[error(
        "{0:?} is not an http:// URL: a model server runs beside its node, on loopback or a private network; write http://HOST:PORT/PATH"
    )]
    Scheme(String),
    #[error("{0:?} names a user, which is not sent: write http://HOST:PORT/PATH")]
    UserInfo(String),
}

/// A list of upstreams that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum UpstreamsError {
    #[error(
        "entry {place} of the upstreams, {entry:?}, has no \"=\": write MODEL=URL, such as v1=http://127.0.0.1:9001/predict"
    )]
    NoModel { place: usize, entry: String },
    #[error("entry {place} of the upstreams, {entry:?}: {error}")]
    Model { place: usize, entry: String, error: ModelIdError },
    #[error("entry {place} of the upstreams: the URL of {model}, {error}")]
    Url { place: usize, model: ModelId, error: UpstreamError },
    #[error("entry {place} of the upstreams names {model} a second time: give every model one URL")]
    Doubled { place: usize, model: ModelId },
}

impl Upstream {
    /// The URL.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let shown = || text.chars().take(200).collect::<String>();
        let uri: Uri = text.parse().map_err(|_| UpstreamError::NotAUrl(shown()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(UpstreamError::Scheme(shown())),
            None => return Err(UpstreamError::NotAUrl(shown())),
        }
        let Some(authority) = uri.authority() else { return Err(UpstreamError::NotAUrl(shown())) };
        if authority.as_str().contains('@') {
            return Err(UpstreamError::UserInfo(shown()));
        }
        let without_port = authority.as_str().len() == authority.host().len();
        if authority.host().is_empty() || !(without_port || authority.port_u16().is_some()) {
            return Err(UpstreamError::NotAUrl(shown()));
        }
        Ok(Self(uri))
    }
}

impl Upstreams {
    /// The place where this node serves `model`: by its own configuration, else by the agreed state; none when neither
    /// says. Fails when the agreed state gives a URL that cannot be called.
    pub fn of(&self, model: &Model) -> Result<Option<Upstream>, UpstreamError> {
        if let Some(own) = self.0.get(&model.id) {
            return Ok(Some(own.clone()));
        }
        model.upstream.as_deref().map(str::parse).transpose()
    }

    /// Every model of this node's configuration with its URL.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelId, &Upstream)> {
        self.0.iter()
    }

    /// Reads entries of the form `MODEL=URL`, each from a flag of its own. Fails when an entry cannot be read, or a
    /// model is named twice.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, UpstreamsError> {
        let mut upstreams = BTreeMap::new();
        for (place, entry) in entries.into_iter().enumerate() {
            let place = place + 1;
            let entry = entry.trim();
            let shown = || entry.chars().take(200).collect::<String>();
            let Some((model, url)) = entry.split_once('=') else {
                return Err(UpstreamsError::NoModel { place, entry: shown() });
            };
            let model: ModelId =
                model.trim().parse().map_err(|error| UpstreamsError::Model { place, entry: shown(), error })?;
            let url: Upstream =
                url.trim().parse().map_err(|error| UpstreamsError::Url { place, model: model.clone(), error })?;
            if upstreams.insert(model.clone(), url).is_some() {
                return Err(UpstreamsError::Doubled { place, model });
            }
        }
        Ok(Self(upstreams))
    }
}

impl FromStr for Upstreams {
    type Err = UpstreamsError;

    /// Reads a list separated by commas, as `CANARY_UPSTREAMS` holds it; an empty text is an empty list. A URL that
    /// holds a comma itself writes it as `%2C`.
    fn from_str(text: &str) -> Result<Self, UpstreamsError> {
        // A trailing comma is what lists that scripts put together often end with.
        let list = text.trim().trim_end_matches(',');
        if list.is_empty() { Ok(Self::default()) } else { Self::from_entries(list.split(',')) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, UpstreamsError> {
        let upstreams: Upstreams = text.parse()?;
        Ok(upstreams.iter().map(|(model, url)| format!("{model} {}", url.uri())).collect())
    }

    fn complaint(text: &str) -> String {
        read(text).expect_err("the list must be refused").to_string()
    }

    #[test]
    fn a_list_is_read_with_its_paths_and_queries() {
        assert_eq!(
            read("v1=http://127.0.0.1:9001/predict?a=1%2C2, v2 = http://[::1]:9002/x ,").expect("the list is good"),
            ["v1 http://127.0.0.1:9001/predict?a=1%2C2", "v2 http://[::1]:9002/x"]
        );
        assert_eq!(read(" ").expect("an empty list is good"), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(
            complaint("v1=http://127.0.0.1:9001/,v2"),
            "entry 2 of the upstreams, \"v2\", has no \"=\": write MODEL=URL, such as v1=http://127.0.0.1:9001/predict"
        );
        assert!(complaint("v1=http://a/,v1=http://b/").starts_with("entry 2 of the upstreams names v1 a second time"));
        assert!(complaint("v\"1=http://a/").contains("must not contain '\"'"));
        assert!(complaint("v1=https://a/").contains("is not an http:// URL"));
        assert!(complaint("v1=127.0.0.1:9001").contains("write http://HOST:PORT/PATH"));
        assert!(complaint("v1=http://user:secret@a/").contains("names a user"));
        assert!(complaint("v1=http://a:99999/").contains("is not a URL"));
        assert!(complaint("v1=").contains("is not a URL"));
        assert!(complaint("=http://a/").contains("entry 1"));
    }

    #[test]
    fn the_own_configuration_goes_over_the_agreed_state() {
        let upstreams: Upstreams = "v1=http://own/".parse().expect("the list is good");
        let model = |id: &str, upstream: Option<&str>| Model {
            id: id.parse().expect("tests use plain names"),
            upstream: upstream.map(str::to_owned),
        };
        let of = |model: Model| upstreams.of(&model).map(|found| found.map(|upstream| upstream.uri().to_string()));
        assert_eq!(of(model("v1", Some("http://agreed/"))), Ok(Some("http://own/".to_owned())));
        assert_eq!(of(model("v2", Some("http://agreed/"))), Ok(Some("http://agreed/".to_owned())));
        assert_eq!(of(model("v2", None)), Ok(None));
        assert!(of(model("v2", Some("ftp://agreed/"))).is_err());
    }
}
