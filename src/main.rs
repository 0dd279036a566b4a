//! The flare-operator binary.

fn main() -> std::process::ExitCode {
    flare_operator::main()
}
