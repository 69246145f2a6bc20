//! What fuzzers do with requests that somebody else made.

use super::csr::Request;
use std::path::Path;

/// Reads a request as `canary pki sign` does, in PEM. Gives whether it would be signed.
pub fn request(pem: &[u8]) -> bool {
    Request::parse(Path::new("request.pem"), pem).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_seeds_of_the_fuzzers_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/seeds/request");
        for seed in fs::read_dir(folder).expect("seeds") {
            let path = seed.expect("readable").path();
            assert!(request(&fs::read(&path).expect("readable")), "{}", path.display());
        }
    }
}
