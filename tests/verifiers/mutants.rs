//! The peer's certificate with every bit of it changed, one at a time: with the old signature, and signed again.

use super::der::Der;
use super::mint::Mint;
use trust::peer_identity;

#[test]
fn no_bit_of_a_certificate_can_be_changed() {
    let mint = Mint::new();
    let (plane, chain) = (mint.plane(), mint.leaf(|_| ()).expect("nothing is needed"));
    for at in 0..chain[0].len() {
        for bit in 0..8 {
            let mut bytes = chain[0].to_vec();
            bytes[at] ^= 1 << bit;
            let said = plane.judge(&[bytes.into()]);
            assert!(said.is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn whatever_the_authority_signs_is_the_peer_or_nobody() {
    let mint = Mint::new();
    let (plane, chain) = (mint.plane(), mint.leaf(|_| ()).expect("nothing is needed"));
    let mut whole = Der::read(&chain[0]);
    let inner = whole.parts()[0].bytes();
    let (algorithm, mut accepted) = (whole.parts()[1].bytes(), 0);
    for at in 0..inner.len() {
        for bit in 0..8 {
            let mut changed = inner.clone();
            changed[at] ^= 1 << bit;
            let signature = mint.signed(&changed).expect("a signature");
            let body = [changed, algorithm.clone(), Der::bit_string(&signature).bytes()].concat();
            let mutant = Der::of(0x30, &body).bytes().into();
            if plane.judge(std::slice::from_ref(&mutant)).is_err() {
                continue;
            }
            accepted += 1;
            let id = peer_identity(&mutant, &mint.domain).expect("it was just accepted").to_string();
            // One bit makes another member's name of the peer's: that is for the authority never to sign.
            let others = ["node-a", "node-b", "node-c"].map(|node| format!("spiffe://{}/node/{node}", mint.domain));
            assert!(others.contains(&id), "bit {bit} of byte {at} makes {id}");
        }
    }
    assert!(accepted > 0, "names, dates and keys have many values that are as good");
}
