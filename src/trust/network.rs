//! Blocks of IP addresses, as people and certificates write them.

use ipnet::IpNet;

/// Reads a block such as `10.0.0.0/8`; refuses, in words for whoever wrote it, one with bits set behind its prefix.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let shown = || text.chars().take(64).collect::<String>();
    let no_block = |_| format!("{:?} is not an address block such as 10.0.0.0/8 or 2001:db8::/32", shown());
    let given: IpNet = text.trim().parse().map_err(no_block)?;
    let meant = given.trunc();
    if given == meant { Ok(meant) } else { Err(format!("{given} has bits set behind its prefix: use {meant}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_shown() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.7/32", "2001:db8::/32", "::/0", "::1/128"] {
            assert_eq!(parse_network(text).map(|block| block.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "a/8", "10.0.0.0/8/8", "10.0.0/8"]
        {
            let error = parse_network(text).expect_err(text);
            assert!(error.contains("is not an address block"), "{text:?}: {error}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_pointed_out() {
        let error = parse_network("10.1.2.3/8").expect_err("host bits");
        assert_eq!(error, "10.1.2.3/8 has bits set behind its prefix: use 10.0.0.0/8");
        assert!(parse_network("2001:db8::1/32").is_err());
    }
}
