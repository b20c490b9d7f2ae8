//! The program `vertex-chat`.
//!
//! Exit codes: 0 it worked, 1 the server or the network failed, 2 wrong usage, 3 configuration or credentials, 4 the
//! request would be refused and was not sent, 5 the answer is not whole, 130 interrupted.

mod chat;
mod doctor;
mod emulate;
mod endpoints;
mod failure;
mod out;
mod target;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Chat with models on Google's Vertex AI, and on any server that speaks OpenAI's Chat Completions.
///
/// Exit codes: 0 it worked; 1 the server or the network failed; 2 wrong usage; 3 configuration or credentials; 4 the
/// request would be refused and was not sent; 5 the answer is not whole; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "vertex-chat", version, propagate_version = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
    /// Say on stderr what is going on. Never shows prompts, answers or tokens.
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a model; text appears as it arrives.
    Chat(Box<chat::ChatArguments>),
    /// Serve Vertex's chat completions and Google's token endpoint on this machine.
    Emulate(emulate::EmulateArguments),
    /// List the project's endpoints with models of your own.
    Endpoints(endpoints::EndpointsArguments),
    /// Print an access token.
    Token(token::TokenArguments),
    /// Say which credentials, project and location were found, and what is missing.
    Doctor(doctor::DoctorArguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let program = Program::parse();
    if program.verbose {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_max_level(tracing::Level::DEBUG)
            .without_time()
            .init();
    }
    let run = async {
        match program.command {
            Command::Chat(arguments) => chat::run(*arguments, program.verbose).await,
            Command::Emulate(arguments) => emulate::run(arguments).await,
            Command::Endpoints(arguments) => endpoints::run(arguments).await,
            Command::Token(arguments) => token::run(arguments).await,
            Command::Doctor(arguments) => doctor::run(arguments).await,
        }
    };
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    }
}

/// Waits for Ctrl-C.
async fn interrupted() -> Failure {
    match tokio::signal::ctrl_c().await {
        Ok(()) => Failure::Interrupted,
        // Without a handler Ctrl-C ends the program by itself.
        Err(_) => std::future::pending().await,
    }
}
