//! Zips and binaries to try things on, each wrong in one way.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// An entry of a zip: its name, content and mode. Links have `0o120777`.
pub(crate) struct Item<'a>(pub(crate) &'a str, pub(crate) &'a [u8], pub(crate) u32);

/// Writes a zip as others do: stored, in the order given, names as they are.
pub(crate) fn zip(folder: &Path, items: &[Item<'_>]) -> PathBuf {
    let path = folder.join("function.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for Item(name, bytes, mode) in items {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        if mode & 0o170_000 == 0o120_000 {
            let target = std::str::from_utf8(bytes).unwrap();
            zip.add_symlink(*name, target, options).unwrap();
        } else if name.ends_with('/') {
            zip.add_directory(*name, options.unix_permissions(*mode))
                .unwrap();
        } else {
            zip.start_file(*name, options.unix_permissions(*mode))
                .unwrap();
            zip.write_all(bytes).unwrap();
        }
    }
    zip.finish().unwrap();
    path
}

/// This test's own binary: a debug build for this machine.
pub(crate) fn debug_binary() -> Vec<u8> {
    std::fs::read(std::env::current_exe().unwrap()).unwrap()
}

/// The same without its section headers, which is more than stripped.
pub(crate) fn stripped_binary() -> Vec<u8> {
    let mut bytes = debug_binary();
    // ELF64 header: e_shoff at 0x28, e_shnum and e_shstrndx at 0x3c.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    bytes
}

/// The same with another processor in the header: ELF64's `e_machine`, at 0x12.
pub(crate) fn for_machine(mut bytes: Vec<u8>, machine: u16) -> Vec<u8> {
    bytes[0x12..0x14].copy_from_slice(&machine.to_le_bytes());
    bytes
}

/// The same with one text in place of another, wherever it stands.
pub(crate) fn with_text(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "{from} is not in the binary");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}
