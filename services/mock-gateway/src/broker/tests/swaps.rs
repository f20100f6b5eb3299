//! A new build takes over from an old one, or does not.

use super::*;

#[tokio::test]
async fn a_new_build_that_cannot_be_initialised_leaves_the_old_one_serving() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        if runtime.generation == 2 {
            return RuntimeExit::Status(1);
        }
        runtime.echo().await
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    assert_eq!(text(&ask(&broker, "a").await), "1:a");
    broker.take_in(&built(2));
    until(&broker, "the failed start", |f| f.init_error.is_some()).await;
    let answer = ask(&broker, "b").await;
    assert_eq!(text(&answer), "1:b");
    assert_eq!(answer.build, BuildNote::InitFailed);
    broker.take_in(&built(3));
    until(&broker, "the third build", |f| f.generation == Some(3)).await;
    let answer = ask(&broker, "c").await;
    assert_eq!(
        (text(&answer).as_str(), answer.build),
        ("3:c", BuildNote::Current)
    );
    stop(&broker).await;
}

#[tokio::test]
async fn twenty_builds_under_load_lose_no_request() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    assert_eq!(text(&ask(&broker, "warm").await), "1:warm");
    let done = CancellationToken::new();
    let answered = Arc::new(AtomicU32::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (broker, done, answered) = (broker.clone(), done.clone(), answered.clone());
        clients.spawn(async move {
            let mut newest = 0;
            while !done.is_cancelled() {
                let answer = text(&ask(&broker, "x").await);
                let generation: u64 = answer.strip_suffix(":x").unwrap().parse().unwrap();
                newest = newest.max(generation);
                answered.fetch_add(1, Ordering::SeqCst);
            }
            newest
        });
    }
    for generation in 2..=20 {
        broker.take_in(&built(generation));
        until(&broker, "the swap", |f| f.generation == Some(generation)).await;
        assert_eq!(
            text(&ask(&broker, "now").await),
            format!("{generation}:now")
        );
    }
    done.cancel();
    for newest in within("the clients", clients.join_all()).await {
        assert!(newest >= 19, "a client last saw generation {newest}");
    }
    assert!(answered.load(Ordering::SeqCst) > 20);
    until(&broker, "old environments gone", |f| {
        f.environments.iter().all(|e| e.generation == 20)
    })
    .await;
    stop(&broker).await;
}

#[tokio::test]
async fn a_request_in_flight_across_a_swap_is_answered_by_the_old_build() {
    let finish = Arc::new(Notify::new());
    let release = finish.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let finish = finish.clone();
        async move {
            if runtime.generation == 2 {
                return runtime.echo().await;
            }
            let event = runtime.next().await;
            finish.notified().await;
            runtime.respond(&event, "old").await;
            let next = runtime.next();
            tokio::select! {
                _ = next => panic!("an old environment was given work"),
                () = runtime.terminated.cancelled() => RuntimeExit::WithoutReason,
            }
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let in_flight = {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, "slow").await })
    };
    until(&broker, "the slow one under way", |f| {
        f.environments.iter().any(|e| e.state == "busy")
    })
    .await;
    broker.take_in(&built(2));
    until(&broker, "the swap", |f| f.generation == Some(2)).await;
    assert_eq!(text(&ask(&broker, "new").await), "2:new");
    release.notify_one();
    let answer = within("the old answer", in_flight).await.unwrap();
    assert_eq!(text(&answer), "old");
    assert_eq!(answer.served_by, Some(Generation(1)));
    until(&broker, "the old one gone", |f| f.environments.len() == 1).await;
    stop(&broker).await;
}
