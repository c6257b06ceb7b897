//! Compiles the shim, a program of its own, for the target that the worker is built for. It is embedded in the
//! executable, linked statically, so that it runs in any image.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=shim");
    let need = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let out = PathBuf::from(need("OUT_DIR")).join("shim");
    let mut rustc = Command::new(need("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", "shim", "--crate-type", "bin", "--target"]);
    rustc.arg(need("TARGET"));
    for option in ["target-feature=+crt-static", "opt-level=s", "panic=abort", "strip=symbols"] {
        rustc.args(["-C", option]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    rustc.arg("-o").arg(&out).arg("shim/shim.rs");
    let status = rustc.status().expect("rustc starts");
    assert!(status.success(), "the shim does not compile: see above (a static libc is needed: libc6-dev)");
}
