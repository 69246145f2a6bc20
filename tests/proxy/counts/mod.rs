//! The moments at which requests count for a trial, whichever way they come: when a model has them, when its answer begins, and
//! when they end.

mod uploads;
mod world;

use self::world::*;
use crate::world::PATIENCE;
use judge::{Arms, Measured};
use model::Provoked;
use service::{GateName, Outcome, Phase, Plan, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How a request ends that has hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Fails,
    Answers,
    Leaves,
}

#[tokio::test]
async fn a_request_that_hangs_is_slow_once_from_when_it_passes_the_limit_and_for_good() {
    for then in [Then::Fails, Then::Answers, Then::Leaves] {
        let (address, model) = held(if then == Then::Fails { &[BROKEN] } else { &[OK] }).await;
        let node = counting(address, open(THIRD, |_| ()), "").await;
        let mut clients = Vec::new();
        for key in KEYS {
            for way in WAYS {
                clients.push(Client::ask(&node, way, &[("x-canary-key", key)]).await);
            }
        }
        let counted = until(&node, "all open", |counted| both(counted, |arm| arm.open() == 3)).await;
        assert!(both(&counted, |arm| arm.answers() == 0), "{then:?}: they have time: {counted:?}");
        let slow = |arm: &Measured| (arm.exceeding(LIMIT_MICROS), arm.answers()) == (3, 3);
        let counted = until(&node, "late", |counted| both(counted, |arm| arm.exceeding(LIMIT_MICROS) > 2)).await;
        assert!(both(&counted, |arm| slow(arm) && arm.open() == 3 && arm.ended() == 0), "{then:?}: {counted:?}");
        match then {
            Then::Fails | Then::Answers => {
                model.send_replace(1);
            }
            Then::Leaves => clients.clear(),
        }
        let counted = until(&node, "over", |counted| both(counted, |arm| arm.open() == 0)).await;
        let expected = match then {
            Then::Fails => [3, 3, 0, 0, 0, 0],
            Then::Answers => [3, 0, 0, 0, 0, 0],
            Then::Leaves => [0, 0, 3, 0, 0, 0],
        };
        assert!(both(&counted, |arm| slow(arm) && ends(arm) == expected), "{then:?}: {counted:?}");
        assert!(both(&counted, |arm| arm.to_counts().waits.is_empty()), "{then:?}: {counted:?}");
    }
}

#[tokio::test]
async fn a_request_that_fails_before_the_limit_has_no_latency() {
    let (address, model) = held(&[BROKEN]).await;
    let node = counting(address, open(THIRD, |_| ()), "").await;
    model.send_replace(1);
    for key in KEYS {
        for way in WAYS {
            assert_eq!(Client::ask(&node, way, &[("x-canary-key", key)]).await.status().await, 500);
        }
    }
    sleep(LIMIT * 5 / 4).await;
    let counted = node.proxy.counted().routed;
    assert!(both(&counted, |arm| ends(arm) == [3, 3, 0, 0, 0, 0]), "{counted:?}");
    assert!(both(&counted, |arm| (arm.open(), arm.answers()) == (0, 0)), "{counted:?}");
}

#[tokio::test]
async fn an_unknown_end_is_of_the_address_that_no_trusted_proxy_wrote() {
    let ways = ["203.0.113.9", "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1", "1.1.1.1, 198.51.100.8"];
    let behind = [("203.0.113.9", 3), ("2001:db8:1:2::", 6), ("2001:db8:1:3::", 3), ("198.51.100.8", 3)];
    for (trusted, expected) in [("192.168.1.0/24", &behind[..]), ("", &[("192.168.1.7", 15)])] {
        let (address, _model) = held(&[OK]).await;
        // Longer than they wait.
        let plan = |plan: &mut Plan| plan.gates = plan.gates.changed(GateName::P95, |gate| gate.limit *= 20);
        let node = counting(address, open(ALL, plan), trusted).await;
        let mut clients = Vec::new();
        for way in WAYS {
            for (number, along) in ways.iter().enumerate() {
                let key = format!("user-{number}");
                let headers = [("x-canary-key", key.as_str()), ("x-forwarded-for", along)];
                clients.push(Client::ask(&node, way, &headers).await);
            }
        }
        until(&node, "all open", |counted| counted.canary.open() == 15).await;
        sleep(PATIENCE * 11 / 10).await;
        clients.clear();
        let canary = until(&node, "all left", |counted| counted.canary.open() == 0).await.canary;
        assert_eq!((ends(&canary), canary.answers()), ([0, 0, 15, 0, 0, 0], 0), "{trusted}");
        let counts = canary.to_counts();
        assert!(counts.sources.iter().all(|source| source.end == Provoked::Unknown), "{counts:?}");
        let found = counts.sources.iter().map(|source| (source.address.to_string(), source.count));
        let expected = expected.iter().map(|(address, count)| (address.to_string(), *count));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected.collect::<BTreeMap<_, _>>(), "{trusted}");
        // They are waits that nobody saw the end of.
        assert_eq!(counts.waits.iter().map(|(_, count)| count).sum::<u32>(), 15, "{trusted}");
    }
}

#[tokio::test]
async fn a_plan_says_what_its_service_answers_and_what_it_is_not_for_while_its_rollout_is_open() {
    let address = obedient().await;
    for way @ (_, target) in WAYS {
        let expected = |plan: &mut Plan| plan.expected = vec![302, 404];
        let uncounted = |plan: &mut Plan| {
            expected(plan);
            // In the order of the alphabet.
            plan.uncounted = vec!["/healthz".into(), target.into()];
        };
        let elsewhere = |plan: &mut Plan| {
            expected(plan);
            plan.uncounted = vec![if target == INFER { "/predict" } else { INFER }.into()];
        };
        let mut over = open(ALL, uncounted);
        let state = Arc::make_mut(&mut over.state);
        let ended = state.rollout.as_ref().expect("there is one").standing(Phase::Ended(Outcome::Aborted), "");
        state.rollout = Some(Arc::new(ended));
        for (what, view, counts, answers) in [
            ("what is expected is good", open(ALL, expected), [4, 1, 0, 1, 1, 0], 3),
            ("nothing of it counts", open(ALL, uncounted), [0, 0, 0, 0, 0, 6], 0),
            ("another path is named", open(ALL, elsewhere), [4, 1, 0, 1, 1, 0], 3),
            ("it is over", over, [2, 1, 0, 2, 2, 0], 1),
        ] {
            let node = counting(address, view, "").await;
            for status in ["200", "302", "307", "403", "404", "503"] {
                let headers = [("x-canary-key", status), ("x-status", status)];
                let answer = Client::ask(&node, way, &headers).await.status().await;
                assert_eq!(answer.to_string(), status, "{way:?}");
            }
            let canary = until(&node, "all over", |counted| counted.canary.open() == 0).await.canary;
            assert_eq!((ends(&canary), canary.answers()), (counts, answers), "{way:?}: {what}");
        }
    }
}

#[tokio::test]
async fn before_a_canary_is_warm_nothing_but_errors_counts() {
    let address = obedient().await;
    for (delay, expected, answers) in [(60_000, [2, 1, 0, 0, 0, 0], 0), (0, [2, 1, 1, 1, 1, 0], 2)] {
        for way in WAYS {
            let node = counting(address, open(ALL, |plan| plan.initial_delay = Span(delay)), "").await;
            let slow = Client::ask(&node, way, &[("x-canary-key", "slow")]).await;
            for status in ["200", "302", "404", "503"] {
                let headers = [("x-canary-key", status), ("x-status", status)];
                Client::ask(&node, way, &headers).await.status().await;
            }
            sleep(LIMIT * 5 / 4).await;
            let canary = node.proxy.counted().routed.canary;
            let is_slow = u64::from(delay == 0);
            assert_eq!((canary.open(), canary.exceeding(LIMIT_MICROS)), (1, is_slow), "{way:?} {delay}");
            drop(slow);
            let canary = until(&node, "over", |counted| counted.canary.open() == 0).await.canary;
            assert_eq!((ends(&canary), canary.answers()), (expected, answers), "{way:?} {delay}");
            let counts = canary.to_counts();
            assert_eq!(counts.sources.len(), if delay == 0 { 3 } else { 0 }, "{way:?} {counts:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_has_its_latency_when_its_first_byte_is_there() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";
    // The head alone is nothing to its client, so that it is late with the byte that follows too late.
    for (pieces, late) in [(&[BEGUN, "later"][..], 0), (&[HEAD, "first", "later"], 3)] {
        let (address, model) = held(pieces).await;
        let node = counting(address, open(THIRD, |_| ()), "").await;
        let mut clients = Vec::new();
        for key in KEYS {
            for way in WAYS {
                clients.push(Client::ask(&node, way, &[("x-canary-key", key)]).await);
            }
        }
        model.send_replace(1);
        let counted = until(&node, "begun", |counted| both(counted, |arm| arm.answers() == 3)).await;
        assert!(both(&counted, |arm| (arm.open(), arm.ended()) == (3, 0)), "{late}: {counted:?}");
        sleep(LIMIT * 5 / 4).await;
        model.send_replace(pieces.len() - 1);
        let is_timed = |arm: &Measured| (arm.answers(), arm.exceeding(LIMIT_MICROS)) == (3, late);
        let begun =
            |arm: &Measured| is_timed(arm) && arm.to_counts().latencies.iter().map(|(_, n)| n).sum::<u32>() == 3;
        let counted = until(&node, "timed", |counted| both(counted, begun)).await;
        assert!(both(&counted, |arm| (arm.open(), arm.ended()) == (3, 0)), "{late}: {counted:?}");
        model.send_replace(pieces.len());
        for client in &mut clients {
            assert_eq!(client.status().await, 200);
        }
        let counted = until(&node, "all over", |counted| both(counted, |arm| arm.open() == 0)).await;
        assert!(both(&counted, |arm| begun(arm) && ends(arm) == [3, 0, 0, 0, 0, 0]), "{late}: {counted:?}");
    }
}

/// How many connections come one after the other in each of the tasks, and how many of these there are.
const TURNS: usize = 40;
const TASKS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stays_open_whatever_comes_on_however_many_threads() {
    let node = Arc::new(counting(obedient().await, open(5_000, |_| ()), "").await);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let node = Arc::clone(&node);
        tasks.spawn(async move {
            let mut answers = 0;
            for turn in 0..TURNS {
                let (way, key) = (WAYS[(task + turn) % WAYS.len()], format!("user-{task}-{turn}"));
                let status = ["200", "302", "404", "503", "none"][turn % 5];
                let headers = [("x-canary-key", key.as_str()), ("x-status", status)];
                let is_upload = turn % 3 == 0 && way.1 == INFER;
                let length = if is_upload { uploads::BODY } else { 2 };
                let mut client = Client::begin(&node, way, &headers, length, length).await;
                // One that is never answered is left at once.
                if status != "none" {
                    assert_eq!(client.status().await.to_string(), status);
                    answers += 1;
                }
            }
            answers
        });
    }
    let answers: u64 = tasks.join_all().await.into_iter().sum();
    let counted = until(&node, "all over", |counted| both(counted, |arm| arm.open() == 0)).await;
    let ended = |counted: &Arms| {
        let known = |arm: &Measured| arm.ended() - arm.unknown();
        (known(&counted.canary) + known(&counted.stable), counted.canary.uncounted() + counted.stable.uncounted())
    };
    assert_eq!(ended(&counted), (answers, 0));
    let late = |counted: &Arms| (counted.canary.to_counts().late, counted.stable.to_counts().late);
    // Were anything left, it would be late by then.
    sleep(LIMIT * 5 / 4).await;
    let then = node.proxy.counted().routed;
    assert_eq!((late(&then), ended(&then)), (late(&counted), (answers, 0)));
    assert!(both(&then, |arm| arm.open() == 0), "{then:?}");
}
