//! Ports that another program holds.

use super::world::{A, B, Cluster};
use std::net::TcpListener;

#[test]
fn a_port_that_is_freed_in_time_is_waited_for() {
    let mut cluster = Cluster::new(15);
    let holder = TcpListener::bind("127.31.15.11:50051").expect("this test's own address");
    cluster.start(A);
    let line = cluster.wait_log(A, &["The port is taken", "127.31.15.11:50051"]);
    assert!(line.contains(&format!("(process {})", std::process::id())), "the holder is named: {line}");
    drop(holder);
    cluster.wait_log(A, &["Coordinator started"]);
}

#[test]
fn a_port_that_stays_taken_ends_the_node_and_its_holder_is_named() {
    let cluster = Cluster::new(16);
    let _holder = TcpListener::bind("127.31.16.12:60002").expect("this test's own address");
    let holder = format!("(process {})", std::process::id());
    cluster
        .refused_node(B, &[])
        .fails(1, &["port 60002 on 127.31.16.12 is taken by", &holder, "ip_local_reserved_ports"]);
    assert!(!cluster.data(B).exists(), "a node that has no port touches no data");
}

#[test]
fn an_address_of_another_machine_is_no_place_to_listen() {
    let cluster = Cluster::new(25);
    cluster.refused_node(A, &["--bind", "192.0.2.1"]).fails(78, &["192.0.2.1 is not an address of this machine"]);
}
