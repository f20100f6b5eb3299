//! The steps of a case: what the client of the gateway and the function's process do, in
//! order, and what each of them gets to see.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::expect::{Expect, Kept, Seen, fill, is_like};
use crate::puppet::{Order, Reply, Request};
use crate::sink::{Sink, Told};
use crate::stage::{Arrivals, Puppet};
use crate::table::Played;

/// Longer than anything here takes that is to happen.
const WITHIN: Duration = Duration::from_secs(20);
/// For so long nothing happens where nothing is to happen.
const QUIET: Duration = Duration::from_millis(200);

/// One step: the fields that are there, in this order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Step {
    /// What the step says of a process is about an external extension's.
    by_extension: bool,
    /// The client invokes the function with this event and goes on; a process takes it.
    begin: Option<Value>,
    /// As headers of that call.
    with: BTreeMap<String, String>,
    /// What the process's environment must hold; `cwd` is its folder.
    environment: Option<BTreeMap<String, Value>>,
    /// What the client asks of the gateway.
    client: Option<Call>,
    /// What the process asks of the Runtime API, or the Extensions API.
    process: Option<Call>,
    /// The call's answer is not waited for: a later step asks for it by this name.
    name: Option<String>,
    /// The answer of a call that was made before.
    of: Option<String>,
    expect: Option<Expect>,
    keep: BTreeMap<String, String>,
    /// This call must still be waiting.
    waits: Option<String>,
    /// The process answers its invocation with this.
    respond: Option<Value>,
    /// What the caller of `begin` gets.
    caller: Option<Expect>,
    print: Option<String>,
    write: Option<(String, String)>,
    /// A file, which goes, and what it held.
    read: Option<(String, String)>,
    /// A text to keep, by its name.
    keep_as: Option<(String, String)>,
    /// A port of this machine takes telemetry from here on: `{{port}}`.
    listen: bool,
    /// What comes there.
    told: Vec<Told>,
    exit: Option<i32>,
    abort: bool,
    /// The process has ended, or does so now.
    ended: bool,
    /// Texts kept before: these two are the same.
    same: Option<(String, String)>,
}

/// A call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    /// As many bytes of a JSON string.
    size: Option<usize>,
    /// A header with as many bytes.
    header_bytes: Option<usize>,
    trailers: Option<Vec<(String, String)>>,
    cut_short: bool,
}

impl Call {
    fn body(&self, kept: &Kept) -> Vec<u8> {
        match (&self.body, self.size) {
            (_, Some(size)) => format!("\"{}\"", "x".repeat(size - 2)).into_bytes(),
            (Some(Value::String(text)), None) => fill(text, kept).into_bytes(),
            (Some(json), None) => fill(&json.to_string(), kept).into_bytes(),
            (None, None) => Vec::new(),
        }
    }

    fn headers(&self, kept: &Kept) -> Vec<(String, String)> {
        let headers = self.headers.iter();
        let long = self
            .header_bytes
            .map(|bytes| ("x-long".to_owned(), "x".repeat(bytes)));
        headers
            .map(|(n, v)| (n.clone(), fill(v, kept)))
            .chain(long)
            .collect()
    }
}

/// A case while it is played.
pub(crate) struct Play {
    gateway: SocketAddr,
    http: reqwest::Client,
    function: String,
    /// The function's processes, and those of its external extensions.
    arrivals: [Arrivals; 2],
    puppets: [Option<Puppet>; 2],
    /// Whose process the step is about.
    cast: usize,
    kept: Kept,
    calls: BTreeMap<String, JoinHandle<Result<Seen, String>>>,
    sink: Option<Sink>,
}

/// Plays a case.
///
/// # Errors
/// The step that did not go as it must, and how.
pub(crate) async fn play(
    gateway: SocketAddr,
    function: String,
    arrivals: [Arrivals; 2],
    case: Played,
) -> Result<(), String> {
    let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{function}");
    let mut play = Play {
        gateway,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        kept: BTreeMap::from([("fn".to_owned(), function.clone()), ("arn".to_owned(), arn)]),
        function,
        arrivals,
        puppets: [None, None],
        cast: 0,
        calls: BTreeMap::new(),
        sink: None,
    };
    for (number, step) in case.steps.iter().enumerate() {
        let played = play.step(step).await;
        played.map_err(|why| format!("step {}: {why}", number + 1))?;
    }
    Ok(())
}

async fn within<T>(what: &str, happens: impl Future<Output = T>) -> Result<T, String> {
    let happened = tokio::time::timeout(WITHIN, happens).await;
    happened.map_err(|_| format!("did not happen: {what}"))
}

fn seen(reply: Reply) -> Seen {
    Seen {
        status: reply.status,
        headers: reply.headers,
        body: BASE64.decode(reply.body).unwrap(),
    }
}

impl Play {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        self.cast = usize::from(step.by_extension);
        if step.listen {
            let sink = Sink::start().await;
            self.kept.insert("port".to_owned(), sink.port.to_string());
            self.sink = Some(sink);
        }
        if let Some(event) = &step.begin {
            self.begin(event, &step.with).await?;
        }
        if let Some(expected) = &step.environment {
            self.environment(expected).await?;
        }
        let mut answer = None;
        if let Some(call) = &step.client {
            answer = self.started(self.client(call), step).await?;
        }
        if let Some(call) = &step.process {
            let running = self.process(call).await?;
            answer = self.started(running, step).await?;
        }
        if let Some(name) = &step.of {
            answer = Some(self.answer(name).await?);
        }
        if let Some(answer) = &answer {
            let expected = step.expect.clone().unwrap_or_default();
            expected.check(answer, &self.kept)?;
            for (name, what) in &step.keep {
                self.kept.insert(name.clone(), answer.pick(what)?);
            }
        }
        if let Some(name) = &step.waits {
            tokio::time::sleep(QUIET).await;
            if self.calls.get(name).is_none_or(JoinHandle::is_finished) {
                return Err(format!("{name} was answered, or never made"));
            }
        }
        if let Some(response) = &step.respond {
            self.respond(response).await?;
        }
        if let Some(expected) = &step.caller {
            let answer = self.answer("caller").await?;
            expected.check(&answer, &self.kept)?;
        }
        for told in &step.told {
            let sink = self.sink.as_mut().ok_or("nobody listens")?;
            sink.await_record(told, &self.kept, WITHIN).await?;
        }
        self.act(step).await
    }

    async fn act(&mut self, step: &Step) -> Result<(), String> {
        if let Some((name, text)) = &step.keep_as {
            let text = fill(text, &self.kept);
            self.kept.insert(name.clone(), text);
        }
        let mut orders = Vec::new();
        orders.extend(step.print.clone().map(Order::Print));
        let written = step.write.as_ref();
        orders
            .extend(written.map(|(path, text)| Order::Write(fill(path, &self.kept), text.clone())));
        orders.extend(step.exit.map(Order::Exit));
        orders.extend(step.abort.then_some(Order::Abort));
        for order in orders {
            self.puppet().await?.order(&order).await;
        }
        if let Some((path, expected)) = &step.read {
            let path = fill(path, &self.kept);
            let reply = self.puppet().await?.read(path.clone()).await;
            let text = seen(within("a file", reply).await?.unwrap_or_default()).text();
            if !is_like(expected, &text, &self.kept) {
                return Err(format!("{path} holds {text:?}"));
            }
        }
        if step.ended || step.exit.is_some() || step.abort {
            let ended = self.puppet().await?.ended.clone();
            within("the process's end", ended.cancelled()).await?;
            self.puppets[self.cast] = None;
        }
        if let Some((one, other)) = &step.same {
            let (one, other) = (fill(one, &self.kept), fill(other, &self.kept));
            if one != other {
                return Err(format!("{one} is not {other}"));
            }
        }
        Ok(())
    }

    async fn puppet(&mut self) -> Result<&mut Puppet, String> {
        let cast = self.cast;
        if self.puppets[cast].is_none() {
            let arrived = self.arrivals[cast].recv();
            self.puppets[cast] = within("a process of the function", arrived).await?;
        }
        let puppet = self.puppets[cast].as_mut();
        puppet.ok_or_else(|| "no process".to_owned())
    }

    async fn environment(&mut self, expected: &BTreeMap<String, Value>) -> Result<(), String> {
        let hello = &self.puppet().await?.hello;
        let (env, cwd) = (hello.env.clone(), hello.cwd.clone());
        self.kept.insert("cwd".to_owned(), cwd);
        for (name, pattern) in expected {
            let value = env.get(name);
            let fits = match pattern.as_str() {
                Some(pattern) => value.is_some_and(|value| is_like(pattern, value, &self.kept)),
                None => value.is_none(),
            };
            if !fits {
                return Err(format!("{name} is {value:?}"));
            }
        }
        Ok(())
    }

    /// Keeps a call under its name, or waits for its answer.
    async fn started(
        &mut self,
        running: JoinHandle<Result<Seen, String>>,
        step: &Step,
    ) -> Result<Option<Seen>, String> {
        if let Some(name) = &step.name {
            self.calls.insert(name.clone(), running);
            return Ok(None);
        }
        Ok(Some(within("an answer", running).await?.unwrap()?))
    }

    async fn answer(&mut self, name: &str) -> Result<Seen, String> {
        let call = self
            .calls
            .remove(name)
            .ok_or_else(|| format!("no call {name}"))?;
        within(&format!("an answer to {name}"), call)
            .await?
            .unwrap()
    }

    fn client(&self, call: &Call) -> JoinHandle<Result<Seen, String>> {
        let url = format!("http://{}{}", self.gateway, fill(&call.path, &self.kept));
        let mut request = self.http.request(call.method.parse().unwrap(), url);
        for (name, value) in call.headers(&self.kept) {
            request = request.header(name, value);
        }
        let request = request.body(call.body(&self.kept));
        tokio::spawn(async move {
            let response = request.send().await.map_err(|error| format!("{error:?}"))?;
            let headers = response.headers().iter();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            Ok(Seen {
                status: response.status().as_u16(),
                headers: headers
                    .map(|(n, v)| (n.to_string(), text(v.as_bytes())))
                    .collect(),
                body: response
                    .bytes()
                    .await
                    .map_err(|error| format!("{error:?}"))?
                    .to_vec(),
            })
        })
    }

    async fn process(&mut self, call: &Call) -> Result<JoinHandle<Result<Seen, String>>, String> {
        let request = Request {
            method: call.method.clone(),
            path: fill(&call.path, &self.kept),
            headers: call.headers(&self.kept),
            body: BASE64.encode(call.body(&self.kept)),
            trailers: call.trailers.clone(),
            cut_short: call.cut_short,
        };
        let reply = self.puppet().await?.call(request).await;
        Ok(tokio::spawn(async move {
            let reply = reply.await.map_err(|_| "the process ended".to_owned())?;
            Ok(seen(reply))
        }))
    }

    async fn begin(
        &mut self,
        event: &Value,
        headers: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let call = Call {
            method: "POST".to_owned(),
            path: format!("/2015-03-31/functions/{}/invocations", self.function),
            headers: headers.clone().into_iter().collect(),
            body: Some(event.clone()),
            ..Call::default()
        };
        let caller = self.client(&call);
        self.calls.insert("caller".to_owned(), caller);
        let next = Call {
            method: "GET".to_owned(),
            path: "/2018-06-01/runtime/invocation/next".to_owned(),
            ..Call::default()
        };
        let running = self.process(&next).await?;
        let given = within("an invocation", running).await?.unwrap()?;
        for (name, header) in [
            ("id", "lambda-runtime-aws-request-id"),
            ("nonce", "lambda-runtime-invocation-id"),
            ("deadline", "lambda-runtime-deadline-ms"),
        ] {
            let value = given.pick(&format!("header:{header}"))?;
            self.kept.insert(name.to_owned(), value);
        }
        Ok(())
    }

    async fn respond(&mut self, response: &Value) -> Result<(), String> {
        let answer = Call {
            method: "POST".to_owned(),
            path: "/2018-06-01/runtime/invocation/{{id}}/response".to_owned(),
            body: Some(response.clone()),
            ..Call::default()
        };
        let running = self.process(&answer).await?;
        let said = within("an answer", running).await?.unwrap()?;
        if said.status == 202 {
            Ok(())
        } else {
            Err(format!("the answer was not taken: {}", said.short()))
        }
    }
}
