//! Uploads: a model owes nothing before it has all of a request.

use super::world::*;
use crate::raw::{read_head, read_out, say};
use crate::world::{raw_upstream, within};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// More than is looked into, and less than a window of HTTP/2.
pub(super) const BODY: usize = 65_537 + 2_000;
/// What of it comes first.
const PART: usize = 40_000;

#[tokio::test]
async fn an_upload_is_open_from_when_it_is_whole() {
    let (address, model) = held(&[OK]).await;
    let node = counting(address, open(THIRD, |_| ()), "").await;
    let mut clients = Vec::new();
    for key in KEYS {
        for way in &WAYS[1..] {
            clients.push(Client::begin(&node, *way, &[("x-canary-key", key)], BODY, PART).await);
        }
    }
    sleep(LIMIT * 5 / 4).await;
    let counted = node.proxy.counted().routed;
    assert!(both(&counted, |arm| arm.is_empty() && arm.answers() == 0), "nobody waits for the model: {counted:?}");
    for client in &mut clients {
        client.send(BODY - PART, true).await;
    }
    let counted = until(&node, "all open", |counted| both(counted, |arm| arm.open() == 2)).await;
    assert!(both(&counted, |arm| arm.answers() == 0), "the model has time: {counted:?}");
    model.send_replace(1);
    for client in &mut clients {
        assert_eq!(client.status().await, 200);
    }
    let counted = until(&node, "all over", |counted| both(counted, |arm| arm.open() == 0)).await;
    assert!(both(&counted, |arm| ends(arm) == [2, 0, 0, 0, 0, 0]), "{counted:?}");
    assert!(both(&counted, |arm| (arm.answers(), arm.exceeding(LIMIT_MICROS)) == (2, 0)), "{counted:?}");
}

#[tokio::test]
async fn an_upload_that_is_answered_early_leaves_nothing_open() {
    const REFUSED: &str = "HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nsorry";
    for (answer, status, expected) in
        [(OK, 200, [2, 0, 0, 0, 0, 0]), (REFUSED, 413, [0, 0, 0, 0, 2, 0]), (BROKEN, 500, [2, 2, 0, 0, 0, 0])]
    {
        let address = raw_upstream(move |mut stream| async move {
            let _ = read_head(&mut stream).await;
            say(&mut stream, answer.as_bytes()).await;
            read_out(&mut stream).await;
        })
        .await;
        let node = counting(address, open(ALL, |_| ()), "").await;
        let mut clients = Vec::new();
        for way in &WAYS[1..] {
            let mut client = Client::begin(&node, *way, &[("x-canary-key", "alice")], BODY, PART).await;
            assert_eq!(client.status().await, status);
            clients.push(client);
        }
        let counted = until(&node, "counted", |counted| counted.canary.ended() == 2).await;
        assert_eq!((ends(&counted.canary), counted.canary.open()), (expected, 0), "{status}");
        for client in &mut clients {
            // As far as anybody takes it.
            match client {
                Client::Http1(stream) => say(stream, &[b'1'; BODY - PART]).await,
                Client::Http2(client) => drop(client.send(BODY - PART, true).await),
            }
        }
        sleep(LIMIT * 5 / 4).await;
        let canary = node.proxy.counted().routed.canary;
        let answers = if status == 200 { 2 } else { 0 };
        assert_eq!((ends(&canary), canary.open(), canary.answers()), (expected, 0, answers), "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_begins_before_its_upload_is_whole_is_not_late_when_that_is() {
    let (tell, mut has_all) = mpsc::unbounded_channel();
    let (model, told) = watch::channel(false);
    let address = raw_upstream(move |mut stream| {
        let (tell, mut told) = (tell.clone(), told.clone());
        async move {
            let Some(start) = read_head(&mut stream).await else { return };
            say(&mut stream, BEGUN.as_bytes()).await;
            let mut rest = vec![0; BODY - start.len()];
            stream.read_exact(&mut rest).await.expect("the node sends all");
            tell.send(()).expect("the test listens");
            told.wait_for(|told| *told).await.expect("the test goes on");
            say(&mut stream, b"later").await;
        }
    })
    .await;
    let node = counting(address, open(ALL, |_| ()), "").await;
    let mut clients = Vec::new();
    for way in &WAYS[1..] {
        clients.push(Client::begin(&node, *way, &[("x-canary-key", "alice")], BODY, PART).await);
    }
    until(&node, "begun", |counted| counted.canary.answers() == 2).await;
    for client in &mut clients {
        client.send(BODY - PART, true).await;
        within(has_all.recv()).await.expect("the model has all of it");
    }
    sleep(LIMIT * 5 / 4).await;
    let canary = node.proxy.counted().routed.canary;
    assert_eq!((canary.ended(), canary.answers(), canary.exceeding(LIMIT_MICROS)), (0, 2, 0));
    model.send_replace(true);
    for client in &mut clients {
        assert_eq!(client.status().await, 200);
    }
    let canary = until(&node, "over", |counted| counted.canary.ended() == 2).await.canary;
    assert_eq!((ends(&canary), canary.open(), canary.answers()), ([2, 0, 0, 0, 0, 0], 0, 2));
}
