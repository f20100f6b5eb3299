//! Zips of others, unpacked as Lambda would, and no further.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use function_package::{Architecture, remove_unpacked, unpack};

use crate::workbench::{Item, for_machine, stripped_binary, zip};

const SCRIPT: &[u8] = b"#!/bin/sh\nexec true\n";

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Unpacks these entries and says why that failed.
fn refusal(items: &[Item<'_>]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("unpacked");
    let error = unpack(&zip(folder.path(), items), &into).unwrap_err();
    let left: Vec<_> = fs::read_dir(&into)
        .map(Iterator::collect)
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?} is left behind");
    assert!(!folder.path().join("evil").exists() && !Path::new("/tmp/evil").exists());
    let chain: Vec<String> =
        std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
            error.source()
        })
        .map(ToString::to_string)
        .collect();
    chain.join(": ")
}

#[test]
fn a_zip_becomes_a_read_only_task_root() {
    let folder = tempfile::tempdir().unwrap();
    let items = [
        Item("lib/deep/data.json", b"{}", 0o666),
        Item("bootstrap", SCRIPT, 0o700),
        Item("empty/", b"", 0o700),
        Item("lib/current", b"deep/../deep", 0o120_777),
    ];
    let path = zip(folder.path(), &items);
    let artifact = unpack(&path, &folder.path().join("unpacked")).unwrap();
    let root = &artifact.task_root;
    assert_eq!(
        (artifact.handler.as_str(), &artifact.manifest),
        ("function", &None)
    );
    assert_eq!(artifact.bootstrap, root.join("bootstrap"));
    assert_eq!(fs::read(&artifact.bootstrap).unwrap(), SCRIPT);
    assert_eq!(fs::read(root.join("lib/current/data.json")).unwrap(), b"{}");
    for (name, expected) in [
        ("", 0o555),
        ("bootstrap", 0o555),
        ("lib/deep", 0o555),
        ("lib/deep/data.json", 0o444),
    ] {
        assert_eq!(mode(&root.join(name)), expected, "{name}");
    }
    assert!(root.join("empty").is_dir());

    // The same content is the same folder, untouched; it can be taken away again.
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&artifact.bootstrap);
    assert_eq!(
        unpack(&path, &folder.path().join("unpacked")).unwrap(),
        artifact
    );
    assert_eq!(inode(&artifact.bootstrap), before);
    remove_unpacked(root).unwrap();
    assert!(!root.exists());
}

#[test]
fn entries_that_lead_out_are_refused_and_nothing_is_left() {
    let bootstrap = Item("bootstrap", SCRIPT, 0o755);
    for name in ["../evil", "lib/../../evil"] {
        let said = refusal(&[Item("bootstrap", SCRIPT, 0o755), Item(name, b"", 0o644)]);
        assert!(said.contains("leads out"), "{name}: {said}");
    }
    for target in ["../evil", "/tmp/evil", "lib/../../../evil"] {
        let said = refusal(&[
            Item("bootstrap", SCRIPT, 0o755),
            Item("link", target.as_bytes(), 0o120_777),
        ]);
        assert!(said.contains("leads out"), "{target}: {said}");
    }
    // A file below a link would be written wherever the link points.
    let said = refusal(&[
        bootstrap,
        Item("lib", b"other", 0o120_777),
        Item("lib/evil", b"", 0o644),
    ]);
    assert!(said.contains("cannot link"), "{said}");
}

#[test]
fn what_cannot_run_here_is_refused_with_the_fix() {
    assert!(refusal(&[Item("app", SCRIPT, 0o755)]).contains("no `bootstrap` at the root"));
    assert!(refusal(&[Item("bootstrap", SCRIPT, 0o644)]).contains("not executable"));
    let other = if Architecture::of_this_machine() == Some(Architecture::X86_64) {
        183
    } else {
        62
    };
    let foreign = for_machine(stripped_binary(), other);
    assert!(refusal(&[Item("bootstrap", &foreign, 0o755)]).contains("build with `--arch"));
}

#[test]
fn a_zip_of_cargo_lambdas_is_named_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders/bootstrap.zip");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let zip = zip(folder.path(), &[Item("bootstrap", SCRIPT, 0o755)]);
    fs::rename(zip, &path).unwrap();
    // What other tools put beside it is none of ours.
    fs::write(path.with_extension("json"), "{}").unwrap();
    let artifact = unpack(&path, &folder.path().join("unpacked")).unwrap();
    assert_eq!((&*artifact.handler, artifact.manifest), ("orders", None));
}

#[test]
fn a_file_that_is_no_zip_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-a.zip");
    fs::write(&path, "text").unwrap();
    let error = unpack(&path, folder.path()).unwrap_err().to_string();
    assert!(error.contains("not-a.zip is not a readable zip"), "{error}");
}

#[test]
fn an_absolute_name_is_taken_below_the_root_as_unzip_does() {
    let folder = tempfile::tempdir().unwrap();
    let items = [
        Item("bootstrap", SCRIPT, 0o755),
        Item("/tmp/evil", b"", 0o644),
    ];
    let path = zip(folder.path(), &items);
    let artifact = unpack(&path, &folder.path().join("unpacked")).unwrap();
    assert!(artifact.task_root.join("tmp/evil").is_file());
    assert!(!Path::new("/tmp/evil").exists());
}
