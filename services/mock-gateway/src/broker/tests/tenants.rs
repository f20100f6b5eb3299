//! Environments are kept apart by tenant.

use super::*;
use crate::invocation::TenantId;

/// Answers every event with its process's number and what it is told of the tenant.
async fn tells(runtime: FakeRuntime) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        let tenant = event.headers.get("lambda-runtime-aws-tenant-id");
        let tenant = tenant.map_or("none", |tenant| tenant.to_str().unwrap());
        let answer = format!("{}:{tenant}", runtime.number);
        runtime.respond(&event, &answer).await;
    }
}

async fn ask_as(broker: &Broker, tenant: &str) -> String {
    let mut invocation = invocation("{}");
    invocation.tenant = TenantId::read(tenant);
    text(&within("an answer", broker.invoke(invocation, PATIENCE)).await)
}

#[tokio::test]
async fn an_environment_works_for_one_tenant_only() {
    let launcher = FakeLauncher::new(tells);
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    for (tenant, answer) in [
        ("blue", "1:blue"),
        ("green", "2:green"),
        ("", "3:none"),
        ("green", "2:green"),
        ("blue", "1:blue"),
        ("", "3:none"),
    ] {
        assert_eq!(ask_as(&broker, tenant).await, answer);
    }
    assert_eq!(launcher.count(), 3);
    stop(&broker).await;
}

#[tokio::test]
async fn a_tenants_environment_makes_room_for_anothers() {
    let launcher = FakeLauncher::new(tells);
    let mut config = config();
    config.max_environments = 2;
    let broker = Broker::new(config, launcher.clone());
    broker.take_in(&built(1));
    for tenant in ["blue", "green", "red", "blue", ""] {
        let answer = ask_as(&broker, tenant).await;
        let of = answer.split_once(':').unwrap().1.replace("none", "");
        assert_eq!(of, tenant);
    }
    // And where many wait at once.
    let mut requests = JoinSet::new();
    for number in 0..40 {
        let broker = broker.clone();
        requests.spawn(async move {
            let tenant = ["blue", "green", "red", "white"][number % 4];
            ask_as(&broker, tenant).await.ends_with(tenant)
        });
    }
    let answers = within("all answers", requests.join_all()).await;
    assert!(answers.into_iter().all(|is_right| is_right));
    let alive = broker.function(&demo()).unwrap().environments.into_iter();
    assert!(alive.filter(|e| e.state != "stopping").count() <= 2);
    stop(&broker).await;
}
