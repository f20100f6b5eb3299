//! What an executable says of itself: processor, glibc floor, debug information.

use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection, elf};

use crate::architecture::Architecture;
use crate::glibc::GlibcVersion;

/// An executable's own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// A Linux binary.
    Elf(Binary),
    /// A text that names its interpreter: `provided` runtimes run it as well.
    Script,
}

/// What matters of an ELF binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The processor, as Lambda names it, or else the machine number of the ELF header.
    pub architecture: Result<Architecture, u16>,
    /// The newest glibc that it asks for; `None` where it asks for none (static, musl).
    pub glibc_floor: Option<GlibcVersion>,
    /// Whether debug information is still in it.
    pub has_debug_info: bool,
    /// Whether the symbol table is still in it.
    pub has_symbols: bool,
}

/// The file is nothing that Linux could run.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableExecutable {
    /// Neither ELF nor a script.
    #[error("it is neither a Linux (ELF) binary nor a script that starts with `#!`")]
    Foreign,
    /// ELF, but cut short or inconsistent.
    #[error("it starts as an ELF binary and is broken: {0}")]
    Broken(#[source] object::Error),
}

impl Executable {
    /// Reads an executable's headers.
    ///
    /// # Errors
    /// If it is neither a 64-bit ELF file nor a script.
    pub fn read(bytes: &[u8]) -> Result<Self, UnreadableExecutable> {
        if bytes.starts_with(b"#!") {
            return Ok(Self::Script);
        }
        if !bytes.starts_with(&elf::ELFMAG) {
            return Err(UnreadableExecutable::Foreign);
        }
        binary(bytes)
            .map(Self::Elf)
            .map_err(UnreadableExecutable::Broken)
    }
}

fn binary(bytes: &[u8]) -> object::Result<Binary> {
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let endian = file.endian();
    let machine = file.elf_header().e_machine(endian);
    let architecture = match machine {
        elf::EM_X86_64 => Ok(Architecture::X86_64),
        elf::EM_AARCH64 => Ok(Architecture::Arm64),
        other => Err(other.0),
    };
    let sections = file.elf_section_table();
    let mut glibc_floor = None;
    if let Some((mut needs, strings)) = sections.gnu_verneed(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        while let Some((_, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                let name = String::from_utf8_lossy(version.name(endian, strings)?);
                glibc_floor = glibc_floor.max(GlibcVersion::of_symbol_version(&name));
            }
        }
    }
    let debug = [".debug_info", ".zdebug_info"];
    Ok(Binary {
        architecture,
        glibc_floor,
        has_debug_info: file
            .sections()
            .any(|section| section.name().is_ok_and(|name| debug.contains(&name))),
        has_symbols: file.symbols().next().is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_is_a_debug_build_for_this_machine() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Executable::Elf(binary) = Executable::read(&bytes).unwrap() else {
            panic!("a script")
        };
        assert_eq!(binary.architecture.ok(), Architecture::of_this_machine());
        assert!(
            binary
                .glibc_floor
                .is_some_and(|floor| floor >= GlibcVersion::new(2, 2))
        );
        assert!(binary.has_debug_info && binary.has_symbols);
    }

    #[test]
    fn what_linux_cannot_run_is_refused() {
        let cases: [(&[u8], &str); 3] = [
            (b"MZ\x90\0", "neither"),
            (b"", "neither"),
            (b"\x7fELF\x02\x01", "broken"),
        ];
        for (bytes, expected) in cases {
            let error = Executable::read(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(
            Executable::read(b"#!/bin/sh\n").unwrap(),
            Executable::Script
        );
    }
}
