//! Floor 2: TLS configurations and the identity that a certificate proves.
