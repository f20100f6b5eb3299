//! What the user sees at start: addresses, functions, routes and a line to paste.

use std::fmt::Write;
use std::net::SocketAddr;

use function_supervisor::FunctionTable;

use crate::settings::Settings;
use crate::stack::Addresses;

/// The services and where they listen.
#[must_use]
pub fn services(addresses: &Addresses, settings: &Settings) -> String {
    let mut text = String::from("\nlongshore is up\n\n");
    let mut line = |name: &str, address: Option<SocketAddr>, hint: &str| {
        if let Some(address) = address {
            // Writing to a string cannot fail.
            writeln!(text, "  {name:<16} {:<28} {hint}", url(address)).ok();
        }
    };
    line(
        "gateway",
        addresses.gateway,
        "ANY /lambda/<function>, /lambda-url/<function>/…",
    );
    let bucket = format!(
        "S3; s3://{} holds {}",
        settings.bucket,
        below(settings, &settings.fixtures)
    );
    line("AWS endpoint", addresses.aws, &bucket);
    line(
        "destination",
        addresses.destination,
        "GET /_longshore/deliveries",
    );
    line(
        "poller",
        addresses.poller,
        "GET /_longshore/jobs/<webhook_id>?wait=10s",
    );
    text.push('\n');
    text
}

/// The functions, the routes that lead to them and a curl to paste.
#[must_use]
pub fn functions(table: &FunctionTable, addresses: &Addresses, settings: &Settings) -> String {
    let mut text = String::new();
    let Some(gateway) = addresses.gateway else {
        return text;
    };
    for problem in &table.problems {
        writeln!(text, "  warning: {problem}").ok();
    }
    if table.functions.is_empty() {
        writeln!(
            text,
            "  no functions yet: put a package with a binary into {} or run `longshore new <name>`\n",
            below(settings, &settings.handlers)
        )
        .ok();
        return text;
    }
    for (name, entry) in &table.functions {
        let declared = &entry.function.settings;
        let seconds = declared.timeout.as_secs_f64();
        writeln!(
            text,
            "  {:<16} {}/lambda/{name}  ({} MB, {seconds} s)",
            name.as_str(),
            url(gateway),
            declared.memory_mb
        )
        .ok();
    }
    for route in table.routes.routes() {
        let methods: Vec<_> = route.methods.iter().map(String::as_str).collect();
        let methods = if methods.is_empty() {
            "ANY".into()
        } else {
            methods.join(", ")
        };
        writeln!(
            text,
            "  {:<16} {}{}  ({methods})",
            route.function.as_str(),
            url(gateway),
            route.resource
        )
        .ok();
    }
    let example = table
        .functions
        .keys()
        .find(|name| name.as_str() == "demo")
        .or_else(|| table.functions.keys().next());
    if let (Some(name), Some(aws), Some(poller)) = (example, addresses.aws, addresses.poller) {
        write!(
            text,
            "\n  curl -X POST {}/lambda/{name} -H 'Content-Type: application/json' \\\n    -d '{{\"data_url\": \"{}/{}/sample.ndjson\", \"callback_url\": \"{}/mock/poll/\", \"webhook_id\": \"wh-1\"}}'\n\n",
            url(gateway),
            url(aws),
            settings.bucket,
            url(poller),
        )
        .ok();
    }
    text
}

/// The address as one would type it.
fn url(address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

fn below(settings: &Settings, path: &std::path::Path) -> String {
    path.strip_prefix(&settings.workspace)
        .unwrap_or(path)
        .display()
        .to_string()
}
