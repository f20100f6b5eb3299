//! The function `demo`.

use demo::Demo;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use webhook_runner::{Deadline, HttpClient};

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    reason = "a handler reads its settings here"
)]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let url = std::env::var("DESTINATION_URL").unwrap_or_else(|_| Demo::DESTINATION_URL.into());
    let demo = Demo::new(HttpClient::new()?, url);
    let handle = async |event: LambdaEvent<_>| {
        let deadline = Deadline::from_epoch_ms(event.context.deadline);
        Ok::<_, Error>(demo.handle(&event.payload, deadline).await)
    };
    lambda_runtime::run(service_fn(handle)).await
}
