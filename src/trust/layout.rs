//! The names of the files in a certificate directory: `certs/ca.pem`, `certs/node-a/node.key`.

/// The authorities' certificates, beside the folders and in each of them.
pub const CA: &str = "ca.pem";
/// The revocation lists, beside the folders and in each member's.
pub const CRL: &str = "crl.pem";
/// The description of a member's folder.
pub const BUNDLE: &str = "bundle.json";
/// The folder of the authority.
pub const AUTHORITY: &str = "ca";
/// The private key of the authority, in its folder.
pub const CA_KEY: &str = "ca.key";
/// The certificate and the private key of a member, in its folder.
pub const NODE: (&str, &str) = ("node.pem", "node.key");
/// The certificate and the private key of a client, in its folder.
pub const CLIENT: (&str, &str) = ("client.pem", "client.key");
