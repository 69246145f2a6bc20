//! Floor 2: the certificate authority, its profiles and its files.
