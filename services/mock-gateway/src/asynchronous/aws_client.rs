//! Sends messages to SQS queues and SNS topics, over HTTP, at the AWS endpoint that the
//! functions use too.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::entry::Message;

/// A message is delivered within this time, or is tried again.
const WITHIN: Duration = Duration::from_secs(10);

/// A message was not taken, or a target cannot be used: why, for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotSent(String);

/// An ARN of a queue or a topic, taken apart.
struct Target<'a> {
    service: &'a str,
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> Target<'a> {
    fn of(arn: &'a str) -> Result<Self, NotSent> {
        let parts: Vec<&str> = arn.split(':').collect();
        match parts.as_slice() {
            ["arn", _, service @ ("sqs" | "sns"), region, account, name] => Ok(Self {
                service,
                region,
                account,
                name,
            }),
            _ => Err(NotSent(format!(
                "`{arn}` is no function, SQS queue or SNS topic: Longshore delivers to those"
            ))),
        }
    }
}

/// Speaks to the AWS endpoint.
#[derive(Clone, Debug)]
pub(crate) struct AwsClient {
    http: reqwest::Client,
    /// Without a slash at the end; none if there is no endpoint.
    endpoint: Option<String>,
}

impl AwsClient {
    /// A client of this endpoint. It is on this machine, or in its compose network: no
    /// proxy stands between.
    pub(crate) fn new(endpoint: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(WITHIN);
        Self {
            http: http.build().unwrap_or_default(),
            endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()),
        }
    }

    /// Whether a queue or topic is there.
    pub(crate) async fn check(&self, arn: &str) -> Result<(), NotSent> {
        let target = Target::of(arn)?;
        if target.service == "sqs" {
            let body = json!({"QueueUrl": self.queue_url(&target)?});
            self.sqs("GetQueueAttributes", &target, &body).await
        } else {
            let form = [("Action", "GetTopicAttributes"), ("TopicArn", arn)];
            self.sns(&target, form.map(|(k, v)| (k.to_owned(), v.to_owned())))
                .await
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&self, message: &Message, body: &Bytes) -> Result<(), NotSent> {
        let target = Target::of(&message.target)?;
        let text = String::from_utf8_lossy(body);
        if target.service == "sqs" {
            let attributes: serde_json::Map<String, Value> = message
                .attributes
                .iter()
                .map(|(name, kind, value)| {
                    let value = json!({"DataType": kind, "StringValue": value});
                    (name.clone(), value)
                })
                .collect();
            let body = json!({
                "QueueUrl": self.queue_url(&target)?,
                "MessageBody": text,
                "MessageAttributes": attributes,
            });
            return self.sqs("SendMessage", &target, &body).await;
        }
        let mut form = vec![
            ("Action".to_owned(), "Publish".to_owned()),
            ("TopicArn".to_owned(), message.target.clone()),
            ("Message".to_owned(), text.into_owned()),
        ];
        for (n, (name, kind, value)) in message.attributes.iter().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", n + 1);
            form.push((format!("{entry}.Name"), name.clone()));
            form.push((format!("{entry}.Value.DataType"), kind.clone()));
            form.push((format!("{entry}.Value.StringValue"), value.clone()));
        }
        self.sns(&target, form).await
    }

    fn endpoint(&self) -> Result<&str, NotSent> {
        let none = || NotSent("there is no AWS endpoint to deliver to".to_owned());
        self.endpoint.as_deref().ok_or_else(none)
    }

    fn queue_url(&self, target: &Target<'_>) -> Result<String, NotSent> {
        let endpoint = self.endpoint()?;
        Ok(format!("{endpoint}/{}/{}", target.account, target.name))
    }

    async fn sqs(&self, operation: &str, target: &Target<'_>, body: &Value) -> Result<(), NotSent> {
        let request = self
            .http
            .post(format!("{}/", self.endpoint()?))
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .body(body.to_string());
        self.ask(request, target).await
    }

    async fn sns(
        &self,
        target: &Target<'_>,
        form: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), NotSent> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Version", "2010-03-31")
            .extend_pairs(form)
            .finish();
        let request = self
            .http
            .post(format!("{}/", self.endpoint()?))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        self.ask(request, target).await
    }

    async fn ask(
        &self,
        request: reqwest::RequestBuilder,
        target: &Target<'_>,
    ) -> Result<(), NotSent> {
        // Emulators tell services apart by the credential's scope; none checks the
        // signature.
        let credential = format!(
            "AWS4-HMAC-SHA256 Credential=test/{}/{}/{}/aws4_request, SignedHeaders=host, Signature={:064}",
            jiff::Timestamp::now().strftime("%Y%m%d"),
            target.region,
            target.service,
            0
        );
        let response = request
            .header(AUTHORIZATION, credential)
            .send()
            .await
            .map_err(|error| NotSent(error.to_string()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = response.text().await.unwrap_or_default();
        let end = text.floor_char_boundary(500);
        Err(NotSent(format!("{status}: {}", &text[..end])))
    }
}
