//! The routes: where handlers report to, and where people and tests look.

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use journal::{NotWritten, Patience};
use pipeline_contract::WebhookId;
use serde::Deserialize;
use serde_json::json;
use service_runtime::Problem;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::report::ReceivedReport;
use crate::{JobList, JobView, Jobs};

/// A report larger than this is refused. The contract's own are below a kilobyte, but some
/// handlers put whole response bodies into `errors`.
const MAX_REPORT_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Poller {
    jobs: Jobs,
    closing: CancellationToken,
}

/// The poller's routes over these jobs. Queries that wait end early once `closing` is
/// cancelled.
pub fn router(jobs: Jobs, closing: CancellationToken) -> Router {
    Router::new()
        .route("/mock/poll/{*webhook_id}", put(take_report))
        .route("/_longshore/jobs", get(list).delete(clear))
        .route("/_longshore/jobs/{*webhook_id}", get(view).delete(forget))
        .layer(DefaultBodyLimit::max(MAX_REPORT_BYTES))
        .with_state(Poller { jobs, closing })
        .merge(service_runtime::control_routes("callback-poller"))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
}

async fn take_report(
    State(poller): State<Poller>,
    Path(id): Path<WebhookId>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|refused| Problem::new(refused.status(), refused.body_text()))?;
    match ReceivedReport::read(&headers, &body) {
        Ok(report) => {
            let taken = poller.jobs.take(&id, report).await;
            let violations = taken.map_err(|why| not_written(&why))?;
            Ok(Json(json!({"status": "ok", "violations": violations})).into_response())
        }
        Err(why) => {
            let noted = poller.jobs.reject(&id, &why).await;
            noted.map_err(|why| not_written(&why))?;
            Err(Problem::bad_request(why.to_string()).with("webhook_id", id.as_str()))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(default)]
    wait: Patience,
}

async fn view(
    State(poller): State<Poller>,
    Path(id): Path<WebhookId>,
    query: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<JobView>, Problem> {
    let Query(Wait { wait }) =
        query.map_err(|refused| Problem::bad_request(refused.body_text()))?;
    let found = tokio::select! {
        found = poller.jobs.wait(&id, Instant::now() + wait.get()) => found,
        () = poller.closing.cancelled() => poller.jobs.view(&id),
    };
    found.map(Json).ok_or_else(|| {
        Problem::not_found(format!(
            "nothing was reported for job `{id}` yet; add ?wait=10s to wait for it"
        ))
    })
}

async fn list(State(poller): State<Poller>) -> Json<JobList> {
    Json(poller.jobs.list())
}

async fn clear(State(poller): State<Poller>) -> Result<StatusCode, Problem> {
    let cleared = poller.jobs.clear().await;
    cleared.map_err(|why| not_written(&why))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn forget(
    State(poller): State<Poller>,
    Path(id): Path<WebhookId>,
) -> Result<StatusCode, Problem> {
    let forgotten = poller.jobs.forget(&id).await;
    if forgotten.map_err(|why| not_written(&why))? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(format!("there is no job `{id}`")))
    }
}

/// What was not written down was not accepted: whoever reported it may do so again.
fn not_written(why: &NotWritten) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not accepted: {why}; is there room in the state folder?"),
    )
}

async fn no_such_route(method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    let hint = if path.starts_with("/mock/poll") {
        "reports go to /mock/poll/<webhook id>: the webhook id is appended to callback_url as it stands, so callback_url must end with a slash"
    } else {
        "see /_longshore/openapi.json for what there is"
    };
    Problem::not_found(format!("no route for {method} {path}; {hint}"))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} does not take {method}; see /_longshore/openapi.json",
            uri.path()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::Config;

    fn poller() -> Router {
        poller_with(3, CancellationToken::new())
    }

    fn poller_with(max_jobs: usize, closing: CancellationToken) -> Router {
        let config = Config {
            job_deadline: Config::PLATFORM_DEADLINE,
            job_silence: Config::PLATFORM_DEADLINE,
            max_jobs,
            max_reports_per_job: 100,
            state_dir: None,
            drain: Duration::from_secs(1),
        };
        router(Jobs::new(config), closing)
    }

    async fn send(poller: &Router, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = poller.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let json = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        (status, json)
    }

    const RUNNING: &str = r#"{"state":"running","progress":0.0,"errors":["a"],"reason":""}"#;
    const SUCCEEDED: &str = r#"{"state":"succeeded","progress":1,"errors":["b"],"reason":""}"#;

    #[tokio::test]
    async fn a_job_is_the_fold_of_its_reports() {
        let poller = poller();
        for report in [RUNNING, SUCCEEDED] {
            let answer = send(&poller, "PUT", "/mock/poll/wh-1", report).await;
            assert_eq!(
                answer,
                (StatusCode::OK, json!({"status": "ok", "violations": []}))
            );
        }
        let (status, mut job) = send(&poller, "GET", "/_longshore/jobs/wh-1?wait=10s", "").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(job["state"], "succeeded");
        assert_eq!(job["progress"], 1.0);
        assert_eq!(job["errors"], json!(["a", "b"]));
        assert_eq!(job["complete"], true);
        assert!(job["first_report_at"].as_str() < job["deadline"].as_str());
        let first = job["reports"][0].as_object_mut().unwrap();
        first.remove("received_at").unwrap();
        assert_eq!(
            Value::Object(first.clone()),
            json!({"state": "running", "progress": 0.0, "errors": ["a"], "reason": "",
                   "violations": [], "tenant": null, "authorized": false})
        );
        assert_eq!(job["reports"].as_array().unwrap().len(), 2);

        let (_, list) = send(&poller, "GET", "/_longshore/jobs", "").await;
        assert_eq!(list["jobs"][0]["webhook_id"], "wh-1");
        assert_eq!(list["jobs"][0]["reports"], 2);
    }

    #[tokio::test]
    async fn breaches_are_kept_and_garbage_is_counted() {
        let poller = poller();
        let (status, answer) = send(
            &poller,
            "PUT",
            "/mock/poll/wh-1",
            r#"{"state":"running","progress":7}"#,
        )
        .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            answer["violations"],
            json!(["progress must be a number from 0 to 1"])
        );
        for garbage in ["{oops", r#"{"state":"banana","progress":7}"#] {
            let (status, problem) = send(&poller, "PUT", "/mock/poll/wh-1", garbage).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        }
        let (_, job) = send(&poller, "GET", "/_longshore/jobs/wh-1", "").await;
        assert_eq!(job["state"], "running");
        assert_eq!(job["rejected_reports"], 2);
        assert_eq!(
            job["rejected"][1]["why"],
            "state \"banana\" is unknown; it is one of running, succeeded, failed"
        );
        assert_eq!(
            job["violations"],
            json!([{"report": 1, "violation": "progress must be a number from 0 to 1"}])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_job() {
        let poller = poller();
        let waiting = send(&poller, "GET", "/_longshore/jobs/wh-1?wait=60s", "");
        let reporting = async {
            for (after, report) in [(5, RUNNING), (10, SUCCEEDED)] {
                // On the paused clock: no time passes.
                tokio::time::sleep(Duration::from_secs(after)).await;
                send(&poller, "PUT", "/mock/poll/wh-1", report).await;
            }
        };
        let started = Instant::now();
        let ((status, job), ()) = tokio::join!(waiting, reporting);
        assert_eq!(
            (status, &job["state"]),
            (StatusCode::OK, &json!("succeeded"))
        );
        assert_eq!(started.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_time() {
        let poller = poller();
        let (status, problem) = send(&poller, "GET", "/_longshore/jobs/wh-1?wait=2s", "").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(problem["detail"].as_str().unwrap().contains("`wh-1`"));

        send(&poller, "PUT", "/mock/poll/wh-1", RUNNING).await;
        let started = Instant::now();
        let (status, job) = send(&poller, "GET", "/_longshore/jobs/wh-1?wait=2s", "").await;
        assert_eq!((status, &job["state"]), (StatusCode::OK, &json!("running")));
        assert_eq!(started.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_without_an_end_times_out() {
        let poller = poller();
        send(&poller, "PUT", "/mock/poll/wh-1", RUNNING).await;
        let almost = Config::PLATFORM_DEADLINE - Duration::from_secs(5);
        tokio::time::advance(almost).await;
        let started = Instant::now();
        let (_, job) = send(&poller, "GET", "/_longshore/jobs/wh-1?wait=30s", "").await;
        assert_eq!(job["state"], "timed_out");
        assert_eq!(started.elapsed().as_secs(), 5);

        let (status, _) = send(&poller, "PUT", "/mock/poll/wh-1", SUCCEEDED).await;
        assert_eq!(status, StatusCode::OK);
        let (_, job) = send(&poller, "GET", "/_longshore/jobs/wh-1", "").await;
        assert_eq!(job["state"], "timed_out");
        assert_eq!(job["reports"].as_array().unwrap().len(), 2);
        assert_eq!(job["violations"][0]["report"], 2);
    }

    #[tokio::test]
    async fn closing_answers_who_waits() {
        let closing = CancellationToken::new();
        let poller = poller_with(3, closing.clone());
        send(&poller, "PUT", "/mock/poll/wh-1", RUNNING).await;
        closing.cancel();
        let answer = send(&poller, "GET", "/_longshore/jobs/wh-1?wait=60s", "");
        let (status, _) = tokio::time::timeout(Duration::from_secs(5), answer)
            .await
            .unwrap();
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn too_many_jobs_are_counted_and_ended_ones_go_first() {
        let poller = poller_with(2, CancellationToken::new());
        for (id, report) in [
            ("a", RUNNING),
            ("b", SUCCEEDED),
            ("c", RUNNING),
            ("d", RUNNING),
        ] {
            send(&poller, "PUT", &format!("/mock/poll/{id}"), report).await;
        }
        let (_, list) = send(&poller, "GET", "/_longshore/jobs", "").await;
        let kept: Vec<_> = list["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| &job["webhook_id"])
            .collect();
        assert_eq!(kept, ["c", "d"]);
        assert_eq!(
            (&list["evicted"], &list["complete"]),
            (&json!(2), &json!(false))
        );

        for status in [204, 404] {
            let (got, _) = send(&poller, "DELETE", "/_longshore/jobs/d", "").await;
            assert_eq!(got, status);
        }
        let (_, list) = send(&poller, "GET", "/_longshore/jobs", "").await;
        assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
        let (status, _) = send(&poller, "DELETE", "/_longshore/jobs", "").await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let (_, list) = send(&poller, "GET", "/_longshore/jobs", "").await;
        assert_eq!(list, json!({"jobs": [], "evicted": 0, "complete": true}));
    }

    #[tokio::test]
    async fn bad_requests_are_told_what_to_do() {
        let long = "x".repeat(MAX_REPORT_BYTES + 1);
        for (method, path, body, status, words) in [
            (
                "GET",
                "/_longshore/jobs/wh-1?wait=soon",
                "",
                400,
                "as in 10s",
            ),
            ("GET", "/_longshore/jobs/wh-1?wait=2m", "", 400, "60s"),
            ("GET", "/_longshore/jobs/wh-1?until=x", "", 400, "until"),
            ("GET", "/_longshore/jobs/wh-1", "", 404, "?wait=10s"),
            ("PUT", "/mock/pollwh-1", RUNNING, 404, "end with a slash"),
            ("PUT", "/mock/poll/", RUNNING, 404, "end with a slash"),
            ("POST", "/mock/poll/wh-1", RUNNING, 405, "POST"),
            ("GET", "/nowhere", "", 404, "openapi.json"),
            ("PUT", "/mock/poll/wh-1", &long, 413, "limit"),
        ] {
            let (got, problem) = send(&poller(), method, path, body).await;
            assert_eq!(got, status, "{method} {path}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{method} {path}: {detail}");
        }
    }
}
