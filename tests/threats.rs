//! Each threat that this system knows, and the tests that show what becomes of it. A threat without a test fails here, and
//! so does a test that is named here and does not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The number of the threat, what it is, and its tests: a file and a function in it.
type Row = (u8, &'static str, &'static [(&'static str, &'static str)]);

const CERTIFICATES: &str = "tests/mesh/certificates.rs";
const SERVERS: &str = "tests/mesh/servers.rs";
const FRAMES: &str = "tests/mesh/frames.rs";
const PLACES: &str = "tests/mesh/places.rs";
const HTTPS: &str = "tests/mesh/https.rs";
const NODES: &str = "tests/cluster/certificates.rs";
const NOISE: &str = "tests/cluster/bad_input.rs";

const THREATS: [Row; 31] = [
    (
        1,
        "a certificate of another authority, even one of the same name",
        &[
            (CERTIFICATES, "certificates_of_another_authority_are_refused"),
            (SERVERS, "a_server_of_another_authority_is_refused"),
            (NODES, "a_node_of_another_cluster_stays_outside"),
        ],
    ),
    (2, "a node that is no member", &[(CERTIFICATES, "nodes_that_are_not_members_are_refused")]),
    (
        3,
        "an operator's or other client's certificate between members",
        &[
            (CERTIFICATES, "operators_and_others_are_refused_at_the_control_plane"),
            (SERVERS, "an_operator_cannot_pose_as_a_peer"),
        ],
    ),
    (
        4,
        "a member's certificate from another address",
        &[(CERTIFICATES, "a_peer_from_a_foreign_address_is_refused_before_it_says_anything")],
    ),
    (
        5,
        "another member where a peer is dialed",
        &[
            (SERVERS, "another_member_at_a_peers_address_is_refused"),
            (SERVERS, "a_peers_certificate_must_have_the_address_that_was_dialed"),
        ],
    ),
    (
        6,
        "the own address dialed, or the own certificate from outside",
        &[
            (SERVERS, "an_address_that_leads_back_is_refused"),
            (CERTIFICATES, "an_own_certificate_seen_from_outside_is_refused"),
        ],
    ),
    (7, "one identity at two addresses", &[(CERTIFICATES, "an_identity_that_is_alive_elsewhere_is_refused")]),
    (
        8,
        "a stolen key whose certificate was revoked",
        &[
            (CERTIFICATES, "a_revoked_certificate_ends_its_live_connections_and_gets_no_new_ones"),
            ("tests/cluster/reload.rs", "a_revoked_node_is_cut_off_and_the_others_go_on"),
            ("tests/cluster/reload.rs", "a_revoked_operators_idle_connection_ends_without_a_signal"),
        ],
    ),
    (
        9,
        "certificates that have expired or are not valid yet",
        &[(CERTIFICATES, "expired_and_early_certificates_are_told_apart")],
    ),
    (10, "a stale revocation list", &[(CERTIFICATES, "a_stale_revocation_list_counts_as_the_policy_says")]),
    (
        11,
        "a revocation list that another authority signed, or none",
        &[
            ("src/trust/files.rs", "a_forged_revocation_list_is_refused"),
            (CERTIFICATES, "a_revocation_list_must_be_there"),
        ],
    ),
    (
        12,
        "an authority that has expired, is none, or has a weak key",
        &[
            ("src/trust/check.rs", "only_authorities_are_authorities"),
            ("src/trust/check.rs", "weak_keys_are_told_from_strong_ones"),
            ("tests/verifiers/roots.rs", "ours_refuses_each_wherever_it_is_read"),
        ],
    ),
    (
        13,
        "certificates that are not of the profile",
        &[
            (CERTIFICATES, "certificates_that_are_not_of_the_profile_are_refused"),
            ("tests/verifiers/leaves.rs", "ours_refuses_each_for_its_own_reason"),
            ("tests/verifiers/mutants.rs", "no_bit_of_a_certificate_can_be_changed"),
            ("src/trust/svid.rs", "exactly_one_uri_counts"),
            ("src/trust/svid.rs", "what_may_issue_is_no_identity"),
            ("src/trust/svid.rs", "usages_must_fit_the_role"),
        ],
    ),
    (
        14,
        "frames replayed, left out or in another order",
        &[
            (FRAMES, "frames_that_are_none_end_the_connection"),
            ("src/mesh/frame/tests.rs", "frames_left_out_repeated_or_reordered_are_refused"),
        ],
    ),
    (
        15,
        "a member that speaks for another",
        &[
            (FRAMES, "nobody_speaks_for_another"),
            ("src/mesh/rules.rs", "ballots_and_transactions_belong_to_their_sender"),
        ],
    ),
    (
        16,
        "frames that are too large, cut short or garbage",
        &[
            (FRAMES, "frames_that_are_none_end_the_connection"),
            (FRAMES, "a_hello_that_does_not_fit_is_refused_with_its_reason"),
            ("src/mesh/frame/tests.rs", "lengths_are_refused_before_anything_is_allocated"),
            (NOISE, "noise_on_both_ports_is_refused_by_name"),
        ],
    ),
    (
        17,
        "connections that only take up places",
        &[
            (PLACES, "those_who_only_connect_take_few_places_and_not_for_long"),
            (PLACES, "a_member_that_does_not_greet_is_refused"),
            ("tests/api/https.rs", "who_says_nothing_or_half_is_dropped"),
            ("tests/api/https.rs", "a_flood_of_half_handshakes_only_delays_its_own_address"),
        ],
    ),
    (
        18,
        "changes over HTTPS by those who may not",
        &[("tests/api/https.rs", "anyone_reads_and_operators_write"), ("tests/cluster/audit.rs", PROVED)],
    ),
    (
        19,
        "a bad client certificate on a read",
        &[
            (HTTPS, "a_bad_certificate_fails_the_handshake_instead_of_making_its_holder_anonymous"),
            ("tests/api/https.rs", "a_certificate_of_another_cluster_does_not_come_in_at_all"),
        ],
    ),
    (
        20,
        "older TLS, or none",
        &[
            (CERTIFICATES, "only_tls_1_3_with_the_right_protocol_comes_in"),
            ("tests/api/https.rs", "plain_http_is_told_what_to_do"),
        ],
    ),
    (21, "early data and resumed sessions", &[(CERTIFICATES, "sessions_are_never_resumed")]),
    (
        22,
        "host names that lead elsewhere, nowhere or slowly",
        &[
            ("src/mesh/addresses.rs", "names_are_resolved_in_the_background"),
            ("src/mesh/addresses.rs", "the_last_answer_is_kept_for_a_while"),
            ("tests/cluster/configuration.rs", "a_name_that_cannot_be_looked_up_is_named"),
        ],
    ),
    (
        23,
        "addresses that are translated between the nodes",
        &[
            (CERTIFICATES, "further_sources_and_a_lenient_policy_let_a_foreign_address_in"),
            ("src/mesh/addresses.rs", "further_sources_are_networks_of_one_peer"),
        ],
    ),
    (
        24,
        "IPv6, and IPv4 written as IPv6",
        &[
            ("tests/cluster/configuration.rs", "ipv6_works"),
            ("src/mesh/addresses.rs", "a_peer_comes_from_its_own_address_or_is_refused"),
            ("src/model/peers.rs", "what_names_no_machine_is_refused"),
        ],
    ),
    (
        25,
        "keys that others can read, or put in their place",
        &[
            ("src/trust/keyfile.rs", "a_key_that_others_can_read_is_refused_with_the_command_to_type"),
            ("src/trust/keyfile.rs", "a_directory_that_others_can_write_to_is_refused"),
            ("src/trust/keyfile.rs", "own_links_are_followed_and_what_they_lead_to_is_judged"),
            (NODES, "wrong_certificates_are_refused_before_anything_is_opened"),
        ],
    ),
    (26, "the authority's key on a node", &[(NODES, "the_authoritys_key_on_a_node_is_told_or_refused")]),
    (27, "a log of session keys", &[(NODES, "no_key_is_written_anywhere")]),
    (
        28,
        "secrets in logs, records, answers and core dumps",
        &[
            (NODES, "no_key_is_written_anywhere"),
            (NODES, "a_secret_is_found_when_it_is_there"),
            (NODES, "no_core_dump_is_written_unless_it_is_asked_for"),
        ],
    ),
    (
        29,
        "certificates that are loaded while they are written",
        &[("tests/cluster/reload.rs", "a_half_written_pair_is_taken_when_it_is_whole")],
    ),
    (
        31,
        "names and paths that forge lines of a log",
        &[
            ("src/trust/facts.rs", "terminals_get_no_control_characters"),
            ("src/model/spiffe.rs", "what_is_no_identity_is_refused"),
            (SERVERS, "the_log_has_one_line_for_each_refusal_with_everything_in_it"),
        ],
    ),
    (
        32,
        "clocks that differ",
        &[
            (FRAMES, "a_clock_that_is_off_is_no_reason_to_refuse"),
            ("src/mesh/greet.rs", "a_clock_that_is_off_is_measured"),
        ],
    ),
];
const PROVED: &str = "a_decision_is_proved_by_every_nodes_record_and_a_changed_one_is_found";

#[test]
fn every_threat_has_its_tests() {
    let known: BTreeSet<u8> = THREATS.iter().map(|(number, ..)| *number).collect();
    assert_eq!(known, (1..=29).chain(31..=32).collect());
    for (number, threat, tests) in THREATS {
        assert!(!tests.is_empty(), "{number}, {threat}: no test");
        for (file, function) in tests {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file of tests");
            let found = text
                .find(&format!("fn {function}("))
                .unwrap_or_else(|| panic!("{number}, {threat}: {file} has no {function}"));
            let before = text[..found].trim_end_matches("async ").trim_end().lines().last().unwrap_or_default().trim();
            assert!(before.starts_with("#[") && before.contains("test"), "{number}, {threat}: {function} is no test");
        }
    }
}
