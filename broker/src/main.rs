//! The `broker` binary: reads the settings, starts the broker, and on a signal reads them
//! again or stops it.

use std::io::IsTerminal;
use std::process::ExitCode;

use broker::config::{Config, LogFormat, load};
use broker::control::Signal;
use broker::server::Server;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = match load::from_args(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => return error.report(),
    };
    if let Err(error) = start_log(&config) {
        eprintln!("broker: log: {error}");
        return ExitCode::from(2);
    }
    run(config)
}

fn run(config: Config) -> ExitCode {
    let mut server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("broker: {error}");
            return ExitCode::FAILURE;
        }
    };
    announce(&server);
    let Some(signals) = server.take_signals() else { return ExitCode::FAILURE };
    while let Some(signal) = signals.wait() {
        if signal == Signal::Reload {
            reload(&mut server);
            continue;
        }
        tracing::info!(?signal, "stopping; once more to stop at once");
        break;
    }
    let flush = server.flusher();
    std::thread::spawn(move || {
        while let Some(signal) = signals.wait() {
            if signal != Signal::Reload {
                flush();
                std::process::exit(130);
            }
        }
    });
    server.stop();
    ExitCode::SUCCESS
}

/// Reads the settings again, from where they came from at the start.
fn reload(server: &mut Server) {
    let reloaded = match load::from_args(std::env::args_os()) {
        Ok(config) => server.reload(config).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match reloaded {
        Ok(changed) => {
            tracing::info!(changed = %changed.join(", "), "the settings were read again");
        }
        Err(error) => {
            tracing::error!(%error, "the settings were not taken over; the old ones hold");
        }
    }
}

#[expect(clippy::print_stdout, reason = "the one line that scripts read")]
fn announce(server: &Server) {
    let (version, workers) = (env!("CARGO_PKG_VERSION"), server.workers());
    let (address, sealed) = (server.local_addr(), server.tls_addr());
    if sealed != Some(address) {
        println!(
            "altavoz {version} listening on http://{address} (ws://{address}/ws), {workers} workers"
        );
    }
    if let Some(address) = sealed {
        println!(
            "altavoz {version} listening on https://{address} (wss://{address}/ws), {workers} workers"
        );
    }
    if let Some(address) = server.admin_addr() {
        println!("altavoz {version} for operators on http://{address}");
    }
    if let Some(certificate) = server.certificate().filter(|made| made.is_self_signed) {
        println!("self-signed certificate, SHA-256 {}", certificate.fingerprint);
    }
}

fn start_log(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| error.to_string())?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
