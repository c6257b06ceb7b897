//! Makes the gRPC code from `proto/`, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/worker.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").skip_debug(["ocelot.v1.Credential"]).compile_fds(files)?;
    Ok(())
}
