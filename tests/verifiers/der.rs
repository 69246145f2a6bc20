//! Just enough DER to take a certificate apart, change it where no library would, and put it together again.

/// One value: its tag and what is in it.
#[derive(Clone)]
pub(crate) struct Der {
    pub(crate) tag: u8,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Bytes(Vec<u8>),
    Parts(Vec<Der>),
}

pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
pub(crate) const ALT_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// Nobody's: 1.3.6.1.4.1.99999.1.
pub(crate) const UNKNOWN: &[u8] = &[0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 1];
pub(crate) const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
pub(crate) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(crate) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];
pub(crate) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];

const OID: u8 = 6;
const OCTETS: u8 = 4;
const SEQUENCE: u8 = 0x30;
const CONSTRUCTED: u8 = 0x20;

impl Der {
    pub(crate) fn of(tag: u8, bytes: &[u8]) -> Self {
        Self { tag, body: Body::Bytes(bytes.to_vec()) }
    }

    pub(crate) fn sequence(parts: Vec<Self>) -> Self {
        Self { tag: SEQUENCE, body: Body::Parts(parts) }
    }

    /// An algorithm without parameters.
    pub(crate) fn algorithm(oid: &[u8]) -> Self {
        Self::sequence(vec![Self::of(OID, oid)])
    }

    /// A certificate's extension.
    pub(crate) fn extension(oid: &[u8], critical: &[u8], value: &[u8]) -> Self {
        let critical = critical.iter().map(|byte| Self::of(1, &[*byte]));
        let parts = std::iter::once(Self::of(OID, oid)).chain(critical).chain([Self::of(OCTETS, value)]);
        Self::sequence(parts.collect())
    }

    pub(crate) fn bit_string(bytes: &[u8]) -> Self {
        Self::of(3, &[&[0], bytes].concat())
    }

    /// Reads exactly one value; the tests read only what they wrote.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let (value, rest) = next(bytes);
        assert!(rest.is_empty(), "{} bytes are left over", rest.len());
        value
    }

    pub(crate) fn parts(&mut self) -> &mut Vec<Self> {
        match &mut self.body {
            Body::Parts(parts) => parts,
            Body::Bytes(_) => panic!("a value of tag {:#x} has no parts", self.tag),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let content = match &self.body {
            Body::Bytes(bytes) => bytes.clone(),
            Body::Parts(parts) => parts.iter().flat_map(Self::bytes).collect(),
        };
        let mut whole = vec![self.tag];
        match u8::try_from(content.len()) {
            Ok(short) if short < 0x80 => whole.push(short),
            Ok(_) | Err(_) => {
                let length: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
                whole.push(0x80 | u8::try_from(length.len()).expect("at most eight"));
                whole.extend(length);
            }
        }
        whole.extend(content);
        whole
    }

    /// The extensions of the inner part of a certificate.
    pub(crate) fn extensions(&mut self) -> &mut Vec<Self> {
        self.parts()[7].parts()[0].parts()
    }

    /// Where the extension of this kind is.
    pub(crate) fn place(&mut self, oid: &[u8]) -> usize {
        let wanted = Self::of(OID, oid).bytes();
        let found = self.extensions().iter_mut().position(|extension| extension.parts()[0].bytes() == wanted);
        found.expect("the extension is there")
    }
}

fn next(bytes: &[u8]) -> (Der, &[u8]) {
    let (tag, first) = (bytes[0], usize::from(bytes[1]));
    let more = first.saturating_sub(0x80);
    let length = match more {
        0 => first & 0x7f,
        _ => bytes[2..2 + more].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    let (content, rest) = bytes[2 + more..].split_at(length);
    if tag & CONSTRUCTED == 0 {
        return (Der::of(tag, content), rest);
    }
    let (mut parts, mut left) = (Vec::new(), content);
    while !left.is_empty() {
        let (part, after) = next(left);
        parts.push(part);
        left = after;
    }
    (Der { tag, body: Body::Parts(parts) }, rest)
}
