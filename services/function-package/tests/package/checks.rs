//! Each check, tripped.

use std::collections::BTreeMap;

use function_package::{
    Architecture, Expected, Fault, GlibcVersion, Limits, check_environment, check_zip,
};

use crate::workbench::{Item, debug_binary, for_machine, stripped_binary, with_text, zip};

const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const RISCV: u16 = 243;

fn expected() -> Expected {
    Expected {
        architecture: Architecture::X86_64,
        glibc: GlibcVersion::AL2023,
        limits: Limits::LAMBDA,
    }
}

fn faults(items: &[Item<'_>], expected: &Expected) -> Vec<Fault> {
    let folder = tempfile::tempdir().unwrap();
    check_zip(&zip(folder.path(), items), expected).unwrap()
}

fn bootstrap_faults(bytes: &[u8]) -> Vec<Fault> {
    faults(&[Item("bootstrap", bytes, 0o755)], &expected())
}

#[test]
fn a_stripped_binary_and_a_script_pass() {
    assert_eq!(
        bootstrap_faults(&for_machine(stripped_binary(), X86_64)),
        []
    );
    assert_eq!(bootstrap_faults(b"#!/bin/sh\nexec ./app\n"), []);
}

#[test]
fn another_processor_is_refused() {
    let arm = bootstrap_faults(&for_machine(stripped_binary(), AARCH64));
    assert_eq!(
        arm,
        [Fault::WrongArchitecture {
            found: "arm64".into(),
            expected: Architecture::X86_64
        }]
    );
    assert!(arm[0].to_string().contains("build with `--arch x86_64`"));
    let riscv = bootstrap_faults(&for_machine(stripped_binary(), RISCV));
    assert!(
        riscv[0].to_string().contains("ELF machine 243"),
        "{riscv:?}"
    );
}

#[test]
fn a_newer_glibc_than_the_runtimes_is_refused() {
    // A version that every binary of the standard library asks for.
    let bytes = with_text(
        for_machine(debug_binary(), X86_64),
        "GLIBC_2.34\0",
        "GLIBC_2.99\0",
    );
    let faults = bootstrap_faults(&bytes);
    let found = GlibcVersion::new(2, 99);
    let fault = Fault::GlibcTooNew {
        found,
        floor: GlibcVersion::AL2023,
    };
    assert!(faults.contains(&fault), "{faults:?}");
    assert!(
        fault
            .to_string()
            .contains("needs glibc 2.99, the runtime has 2.34: link with zig")
    );
}

#[test]
fn a_debug_build_is_refused_and_so_is_one_that_was_not_stripped() {
    let bytes = for_machine(debug_binary(), X86_64);
    let what = "debug information";
    assert!(bootstrap_faults(&bytes).contains(&Fault::DebugBuild { what }));
    let without = with_text(bytes, "\0.debug_info\0", "\0.nebug_info\0");
    let what = "symbol table";
    assert!(bootstrap_faults(&without).contains(&Fault::DebugBuild { what }));
}

#[test]
fn what_cannot_be_started_is_refused() {
    let good = b"#!/bin/sh\n";
    let cases: [(&[Item<'_>], Fault); 4] = [
        (&[Item("app", good, 0o755)], Fault::NoBootstrap),
        (&[Item("bin/bootstrap", good, 0o755)], Fault::NoBootstrap),
        (&[Item("bootstrap/", b"", 0o755)], Fault::NoBootstrap),
        (&[Item("bootstrap", good, 0o644)], Fault::NotExecutable),
    ];
    for (items, fault) in cases {
        assert_eq!(faults(items, &expected()), [fault]);
    }
    let windows = bootstrap_faults(b"MZ\x90\0");
    assert!(
        windows[0]
            .to_string()
            .contains("neither a Linux (ELF) binary"),
        "{windows:?}"
    );
}

#[test]
fn sizes_over_lambdas_are_refused() {
    assert_eq!(
        Limits::LAMBDA,
        Limits {
            zipped: 52_428_800,
            unzipped: 262_144_000
        }
    );
    let items = [
        Item("bootstrap", b"#!/bin/sh\n", 0o755),
        Item("data", &[7; 90], 0o644),
    ];
    let limited = |zipped, unzipped| {
        faults(
            &items,
            &Expected {
                limits: Limits { zipped, unzipped },
                ..expected()
            },
        )
    };
    assert_eq!(limited(1000, 100), []);
    assert!(matches!(
        limited(99, 100)[..],
        [Fault::ZipTooLarge {
            size: 100..,
            limit: 99
        }]
    ));
    assert_eq!(
        limited(1000, 99),
        [Fault::UnzippedTooLarge {
            size: 100,
            limit: 99
        }]
    );
}

#[test]
fn variables_that_lambda_refuses_are_refused() {
    let check = |name: &str, value: &str| {
        let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let faults = check_environment(&variables);
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(check("AWS_ENDPOINT_URL", "http://localhost:4566"), [""; 0]);
    for (name, value, expected) in [
        (
            "AWS_REGION",
            "x",
            "AWS_REGION is set, which Lambda sets itself: choose another name",
        ),
        (
            "WITH-HYPHEN",
            "x",
            "`WITH-HYPHEN` is set, which is no name for Lambda",
        ),
        (
            "TABLE",
            &*"x".repeat(4_096),
            "the variables have 4108 bytes: move values to Parameter Store or S3",
        ),
    ] {
        let [fault] = &check(name, value)[..] else {
            panic!("{name} is one fault");
        };
        assert!(fault.contains(expected), "{fault}");
    }
}
