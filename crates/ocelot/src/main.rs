//! The `ocelot` executable: reads the options, hands over to the server, the worker or a client
//! command, and turns what comes back into an exit code. It decides nothing about builds.

mod cli;
mod exit;
mod follow;
mod roles;

fn main() -> std::process::ExitCode {
    // Before any connection: two libraries bring a TLS provider each, one must be chosen. An error
    // says that it is chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let words: Vec<_> = std::env::args_os().collect();
    let options = match cli::config::read(&words, &|name| std::env::var_os(name)) {
        Ok(options) => options,
        Err(error) => return exit::from_result(Err(error)),
    };
    // Few threads: almost all the work is waiting, and each thread costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(cli::dispatch(options));
            // A read of the terminal that nobody waits for any more must not hold the process.
            runtime.shutdown_timeout(std::time::Duration::from_millis(100));
            result
        }
        Err(error) => Err(error.into()),
    };
    exit::from_result(result)
}
