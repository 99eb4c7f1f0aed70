//! The binary: hands the command line to the sub-command that it names.

fn main() -> std::process::ExitCode {
    zurau::tools::main()
}
