//! Says where the WIT of WASI is: with the crate that brings it, so there is one version of it here.

use cargo_metadata::MetadataCommand;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let metadata = MetadataCommand::new()
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
        .exec()?;
    let sdk = (metadata.packages.iter())
        .find(|package| package.name == "spin-sdk")
        .and_then(|package| package.manifest_path.parent())
        .ok_or("next-handler depends on spin-sdk")?;
    println!("cargo:rustc-env=SPIN_SDK_WIT={}", sdk.join("wit"));
    Ok(())
}
