//! The contents of a file of certificates and revocation lists, in order and without judging them.

use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::path::Path;
use trust::file::{FileError, malformed};
use trust::svid::SvidError;
use trust::{CertificateFacts, CrlFacts, file, svid};
use zeroize::Zeroizing;

/// One section of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A certificate, and why it is not an identity, if it is none.
    Certificate(Box<CertificateFacts>, Option<SvidError>),
    /// A revocation list.
    RevocationList(CrlFacts),
    /// A private key, of which nothing is shown.
    PrivateKey,
    /// Something else, or something that cannot be read; as a sentence.
    Other(String),
}

/// Read all sections of a PEM file, or the one certificate or revocation list in a DER file. Fails when there is no
/// such file, or nothing in it that this program knows.
pub fn inspect(path: &Path) -> Result<Vec<Item>, FileError> {
    let Some(contents) = file::read(path)? else {
        return Err(FileError::Missing { path: path.to_owned(), advice: "name a PEM or DER file".to_owned() });
    };
    let mut items = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&contents) {
        let (kind, der) = section.map_err(|error| malformed(path, "PEM", &error.to_string()))?;
        items.push(item(kind, Zeroizing::new(der)));
    }
    if items.is_empty() {
        items.extend(certificate(&contents));
    }
    if items.is_empty() {
        items.extend(CrlFacts::of(&CertificateRevocationListDer::from(contents.as_slice())).map(Item::RevocationList));
    }
    if items.is_empty() { Err(malformed(path, "PEM or DER", "there is no certificate in it")) } else { Ok(items) }
}

fn item(kind: SectionKind, der: Zeroizing<Vec<u8>>) -> Item {
    match kind {
        SectionKind::Certificate => {
            certificate(&der).unwrap_or_else(|| Item::Other("a certificate that cannot be read".into()))
        }
        SectionKind::Crl => CrlFacts::of(&CertificateRevocationListDer::from(der.as_slice()))
            .map_or_else(|| Item::Other("a revocation list that cannot be read".into()), Item::RevocationList),
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => Item::PrivateKey,
        SectionKind::PublicKey | SectionKind::Csr | SectionKind::EchConfigList | _ => {
            Item::Other(format!("something else ({kind:?})"))
        }
    }
}

fn certificate(der: &[u8]) -> Option<Item> {
    let der = CertificateDer::from(der);
    let facts = CertificateFacts::of(&der)?;
    Some(Item::Certificate(Box::new(facts), svid::identity(&der).err()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use std::fs;

    #[test]
    fn every_file_of_a_tree_says_what_it_is() {
        let (_dir, certs) = tree();
        let of = |name: &str| inspect(&certs.join(name)).expect("a file that can be read");
        assert!(
            matches!(of("ca.pem").as_slice(), [Item::Certificate(facts, Some(SvidError::UriNames(0)))] if facts.is_ca)
        );
        assert!(matches!(of("node-a/node.pem").as_slice(), [Item::Certificate(facts, None)] if !facts.is_ca));
        assert!(matches!(of("crl.pem").as_slice(), [Item::RevocationList(facts)] if facts.revoked.is_empty()));
        assert_eq!(of("node-a/node.key"), [Item::PrivateKey]);
        assert!(inspect(&certs.join("node-a/bundle.json")).is_err());
        assert!(matches!(inspect(&certs.join("none.pem")), Err(FileError::Missing { .. })));
    }

    #[test]
    fn binary_files_and_strange_sections_are_read_too() {
        let (dir, certs) = tree();
        let path = dir.path().join("file");
        let der = CertificateDer::from_pem_file(certs.join("ca.pem")).expect("a certificate");
        fs::write(&path, &der).expect("written");
        assert!(matches!(inspect(&path).expect("DER").as_slice(), [Item::Certificate(..)]));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
        assert!(matches!(inspect(&path).expect("PEM").as_slice(), [Item::Other(_)]));
        fs::write(&path, &der[..100]).expect("written");
        assert!(inspect(&path).is_err());
    }
}
