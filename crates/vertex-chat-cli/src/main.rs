//! The program `vertex-chat`.
//!
//! Exit codes: 0 it worked, 1 the server or the network failed, 2 wrong usage, 3 configuration or credentials, 4 the
//! request would be refused and was not sent, 5 the answer is not whole, 130 interrupted. `conformance` has more: 10 only strict
//! rules fail, 11 interop rules fail, 12 a mutant is not convicted as it should be, 13 not all could be judged.

mod chat;
mod compare;
mod conformance;
mod doctor;
mod emulate;
mod endpoints;
mod failure;
#[cfg(unix)]
mod handover;
mod interrupt;
mod out;
mod params;
mod replace;
mod request;
mod serve;
mod target;
mod telemetry;
mod token;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vertex_chat::auth::{Environment, VARIABLES};
use vertex_chat::transport::{NO_PROXY_VARIABLES, PROXY_VARIABLES};

use crate::failure::Failure;
use crate::interrupt::{Interrupts, Role};
use crate::telemetry::Telemetry;

/// Gives memory back to the system some seconds after it was freed: docs/decisions/0027-memory-goes-back.md.
#[cfg(all(feature = "jemalloc", unix, not(target_os = "openbsd")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Chat with models on Google's Vertex AI, and on any server that speaks OpenAI's Chat Completions.
///
/// Exit codes: 0 it worked; 1 the server or the network failed; 2 wrong usage; 3 configuration or credentials; 4 the
/// request would be refused and was not sent; 5 the answer is not whole; 130 interrupted. Of `conformance`: 10 only strict
/// rules fail; 11 interop rules fail; 12 a mutant is not convicted as it should be; 13 not all could be judged.
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
    /// Be the OpenAI API for every program of this machine: OPENAI_BASE_URL=http://127.0.0.1:8080/v1.
    Serve(serve::ServeArguments),
    /// Make a key for a client of `serve`, and what the configuration says of it.
    Key(serve::KeyArguments),
    /// List the project's endpoints with models of your own.
    Endpoints(endpoints::EndpointsArguments),
    /// Say rule by rule whether an endpoint speaks Chat Completions, and what breaks where it does not.
    Conformance(Box<conformance::ConformanceArguments>),
    /// Ask several models the same, and compare answers, cost and scale.
    Compare(Box<compare::CompareArguments>),
    /// Show which server takes which parameter, and what is rewritten for it.
    Params(params::ParamsArguments),
    /// Print an access token.
    Token(token::TokenArguments),
    /// Say which credentials, project and location were found, and what is missing.
    Doctor(doctor::DoctorArguments),
}

fn main() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => return usage::end(error),
    };
    // A panic in a task is reported like everything else: without waiting for a reader of stderr.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        out::note(format_args!("{panic}\n{backtrace}"));
    }));
    let telemetry = Telemetry::start(program.verbose);
    // The command itself runs on this thread, which may wait for files and the terminal; workers answer and receive. One is
    // enough for everything but serving many.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !matches!(program.command, Command::Serve(_) | Command::Conformance(_) | Command::Compare(_)) {
        builder.worker_threads(1);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::Local(format!("no runtime: {error}"));
            failure.tell();
            out::stderr().flush();
            return failure.exit_code();
        }
    };
    let result = runtime.block_on(run(program));
    // A thread may still wait for a line of the terminal, and nothing can call it off: it is left behind.
    runtime.shutdown_background();
    telemetry.end();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    };
    out::stderr().flush();
    code
}

/// Says which variables are read without what surrounds their values: they may have been meant so.
fn tell_of_variables() {
    let names = VARIABLES.into_iter().chain(PROXY_VARIABLES).chain(NO_PROXY_VARIABLES);
    for name in Environment::process().surrounded(names) {
        out::note(format_args!(
            "note: {name}: the blanks, line ends or quotes around its value are left out"
        ));
    }
}

async fn run(program: Program) -> Result<(), Failure> {
    tell_of_variables();
    // From here on Ctrl-C is ours to answer.
    let role = match program.command {
        Command::Chat(_) => Role::Conversation,
        Command::Serve(_) => Role::Server,
        _ => Role::Other,
    };
    let mut interrupts = Interrupts::listen(role)?;
    match program.command {
        // A conversation has its own use for Ctrl-C.
        Command::Chat(arguments) => chat::run(*arguments, program.verbose, &mut interrupts).await,
        Command::Serve(arguments) => serve::run(arguments, &mut interrupts).await,
        Command::Key(arguments) => serve::key(&arguments),
        Command::Emulate(arguments) => interrupts.end(emulate::run(arguments)).await,
        Command::Endpoints(arguments) => interrupts.end(endpoints::run(arguments)).await,
        Command::Conformance(arguments) => conformance::run(*arguments, &mut interrupts).await,
        Command::Compare(arguments) => compare::run(*arguments, &mut interrupts).await,
        Command::Params(arguments) => params::run(&arguments),
        Command::Token(arguments) => interrupts.end(token::run(arguments)).await,
        Command::Doctor(arguments) => interrupts.end(doctor::run(arguments)).await,
    }
}
