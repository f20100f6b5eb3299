//! `longshore new <name>`: a handler from the workspace's template, which a running
//! Longshore serves by the time the command has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::exit::Exit;
use crate::settings::Settings;

/// The template's package, binary and folder have this name.
const TEMPLATE: &str = "template";

/// A running Longshore reads the workspace again within this, or is too busy to wait for.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Copies `handlers/template`, puts the new name in its place, and waits until a running
/// Longshore knows it.
///
/// # Errors
/// If the name is no package name, is taken, or the workspace has no template. Nothing is
/// left behind by a copy that failed.
pub async fn run(settings: &Settings, name: &str) -> anyhow::Result<Exit> {
    check_name(name)?;
    let template = settings.handlers.join(TEMPLATE);
    ensure!(
        template.join("Cargo.toml").is_file(),
        "there is no template at {}; run this in a Longshore workspace or name one with --workspace",
        template.display()
    );
    let target = settings.handlers.join(name);
    ensure!(
        !target.exists(),
        "{} exists already; choose another name",
        target.display()
    );
    // Built beside its place and moved in whole: a watcher never sees half a package.
    let staging = settings.state_dir.join("new").join(name);
    if staging.exists() {
        fs::remove_dir_all(&staging)
            .with_context(|| format!("cannot clear {}", staging.display()))?;
    }
    copy_renamed(&template, &staging, name)?;
    fs::rename(&staging, &target)
        .with_context(|| format!("cannot move the new handler to {}", target.display()))?;
    println!(
        "made {}",
        target
            .strip_prefix(&settings.workspace)
            .unwrap_or(&target)
            .display()
    );
    println!("{}", noticed(settings, name).await);
    println!(
        "  curl -X POST http://localhost:{}/lambda/{name} -H 'Content-Type: application/json' -d @fixtures/events/webhook-payload.json",
        settings.gateway_port
    );
    Ok(Exit::Success)
}

/// What there is to say of a Longshore that runs, or does not, on the gateway's port.
async fn noticed(settings: &Settings, name: &str) -> &'static str {
    const ABSENT: &str = "start Longshore with `make dev` or `longshore up`, then:";
    const SERVED: &str = "the running Longshore serves it:";
    const SILENT: &str =
        "a Longshore runs but has not noticed it; is its workspace another one? Otherwise:";
    let url = format!(
        "http://{}:{}/_longshore/functions/{name}",
        settings.host, settings.gateway_port
    );
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(NOTICED_WITHIN)
        .build();
    let Ok(client) = client else { return ABSENT };
    let asking = async {
        loop {
            match client.get(&url).send().await {
                Err(_) => return ABSENT,
                Ok(answer) if answer.status().is_success() => return SERVED,
                Ok(_) => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    };
    tokio::time::timeout(NOTICED_WITHIN, asking)
        .await
        .unwrap_or(SILENT)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if !starts_well || name.len() > 64 || !name.bytes().all(allowed) {
        bail!(
            "`{name}` is no handler name; use up to 64 lowercase letters, digits and hyphens, a letter first"
        );
    }
    ensure!(
        name != "test" && name != "core" && name != "std",
        "`{name}` is a name that Cargo reserves"
    );
    Ok(())
}

fn copy_renamed(from: &Path, to: &Path, name: &str) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (source, target): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                copy_renamed(&source, &target, name)?;
            }
            continue;
        }
        let text = fs::read_to_string(&source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        fs::write(&target, renamed(&text, name))
            .with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

/// Replaces the template's name where it stands as a word of its own, also as a crate name.
fn renamed(text: &str, name: &str) -> String {
    let crate_name = name.replace('-', "_");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(TEMPLATE) {
        let (before, tail) = rest.split_at(at);
        let after = &tail[TEMPLATE.len()..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let alone = !before.chars().next_back().is_some_and(is_word)
            && !after.chars().next().is_some_and(is_word);
        out.push_str(before);
        match (alone, after.starts_with("::")) {
            (true, true) => out.push_str(&crate_name),
            (true, false) => out.push_str(name),
            (false, _) => out.push_str(TEMPLATE),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_package_names() {
        for good in ["orders", "orders-2", "a"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Orders",
            "2orders",
            "-x",
            "a_b",
            "a/b",
            "../x",
            "test",
            &"x".repeat(65),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_name_itself_is_replaced() {
        let cases = [
            ("name = \"template\"", "name = \"my-orders\""),
            ("template::handle", "my_orders::handle"),
            ("my_template templates", "my_template templates"),
            ("the template function", "the my-orders function"),
        ];
        for (text, expected) in cases {
            assert_eq!(renamed(text, "my-orders"), expected);
        }
    }
}
