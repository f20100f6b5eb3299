//! Where values come from, and that each is documented.

use super::*;
use crate::env::MapEnvironment;

fn resolve(
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
) -> Result<Settings, InvalidSettings> {
    let flags = Flags(
        flags
            .iter()
            .map(|(flag, value)| (*flag, (*value).to_owned()))
            .collect(),
    );
    let environment = MapEnvironment::new(variables);
    Settings::resolve(&flags, &environment, Path::new("/"))
}

#[test]
fn flags_win_over_variables_and_variables_over_defaults() {
    let settings = resolve(
        &[("aws-port", "1")],
        &[("LONGSHORE_AWS_PORT", "2"), ("LONGSHORE_POLLER_PORT", "3")],
    );
    let settings = settings.unwrap();
    assert_eq!(
        (
            settings.aws_port,
            settings.poller_port,
            settings.gateway_port
        ),
        (1, 3, 5555)
    );
}

#[test]
fn artifacts_are_files_below_the_workspace_named_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("a.zip"), "").unwrap();
    std::fs::write(root.join("b=c.zip"), "").unwrap();
    let artifacts = |text: &str| {
        let flags = [("artifact", text), ("workspace", root.to_str().unwrap())];
        resolve(&flags, &[]).map(|settings| settings.artifacts)
    };
    let expected = [
        (None, "a.zip"),
        (Some("demo"), "a.zip"),
        (None, "./b=c.zip"),
    ]
    .map(|(name, zip)| PackageSource {
        name: name.map(|name: &str| name.parse().unwrap()),
        zip: root.join(zip),
    });
    assert_eq!(artifacts("a.zip, demo=a.zip,,./b=c.zip").unwrap(), expected);
    assert_eq!(artifacts("").unwrap(), []);
    let error = artifacts("no.zip,de mo=a.zip").unwrap_err().to_string();
    assert!(error.contains("--artifact: there is no file"), "{error}");
    assert!(error.contains("`de mo` is not a function name"), "{error}");
}

#[test]
fn declarations_are_a_file_from_here_wherever_the_workspace_is() {
    let (here, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(here.path().join("mine.toml"), "").unwrap();
    let declarations = |file: &str| {
        let workspace = workspace.path().to_str().unwrap().to_owned();
        let given = [("workspace", workspace), ("declarations", file.to_owned())];
        let flags = Flags(BTreeMap::from(given));
        let settings = Settings::resolve(&flags, &MapEnvironment::new(&[]), here.path());
        settings.map(|settings| settings.declarations)
    };
    assert_eq!(declarations(""), Ok(None));
    assert_eq!(
        declarations("mine.toml"),
        Ok(Some(here.path().join("mine.toml")))
    );
    let error = declarations("gone.toml").unwrap_err().to_string();
    assert!(
        error.contains("--declarations: there is no file"),
        "{error}"
    );
}

#[test]
fn every_bad_value_is_reported_at_once() {
    let error = resolve(
        &[("gateway-port", "99999"), ("watch", "sometimes")],
        &[("LONGSHORE_DRAIN", "-1"), ("LAMBDA_TIMEOUT", "0")],
    )
    .unwrap_err()
    .to_string();
    for part in [
        "--gateway-port: `99999`",
        "--watch: `sometimes`",
        "auto, native, poll, off",
        "LONGSHORE_DRAIN",
        "900000 ms",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn a_setting_that_aws_does_not_have_counts_unless_parity_is_enforced() {
    let given = [("integration-timeout", "60"), ("init-timeout", "10.5")];
    let settings = resolve(&given, &[]).unwrap();
    assert_eq!(settings.integration_timeout, Duration::from_secs(60));
    let rules = settings.excesses();
    let rules: Vec<&str> = rules.iter().map(|excess| excess.rule.name).collect();
    assert_eq!(rules, ["integration-timeout", "init-timeout"]);

    let enforce = [("LONGSHORE_PARITY", "enforce")];
    let error = resolve(&given, &enforce).unwrap_err().to_string();
    for part in [
        "`LONGSHORE_INTEGRATION_TIMEOUT` is 60 seconds; AWS takes 29 seconds",
        "`LONGSHORE_INIT_TIMEOUT` is 10.5 seconds; AWS takes 10 seconds",
        "(https://docs.aws.amazon.com/",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let at_the_limit = [("integration-timeout", "29"), ("init-timeout", "10")];
    assert!(resolve(&at_the_limit, &enforce).is_ok());
    let error = resolve(&[("parity", "maybe")], &[]).unwrap_err();
    assert!(error.to_string().contains("warn, enforce"), "{error}");
}

#[test]
fn the_readme_documents_every_setting() {
    let readme = include_str!("../../../../README.md");
    let dotenv = include_str!("../../../../.env");
    for setting in SETTINGS {
        let row = format!(
            "| `{}` | `--{}` | {} |",
            setting.variable,
            setting.flag,
            default_cell(setting)
        );
        assert!(readme.contains(&row), "README.md lacks the row: {row}");
        assert!(
            dotenv.contains(setting.variable),
            ".env does not mention {}",
            setting.variable
        );
    }
}

fn default_cell(setting: &Setting) -> String {
    if setting.default.is_empty() {
        "–".to_owned()
    } else {
        format!("`{}`", setting.default)
    }
}
