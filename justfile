# Recipes for those who have `just`; without it the commands work as they stand.

# List the recipes
default:
    @just --list

# Run a node on a folder of its own
run *ARGS:
    cargo run --release -- --data-dir target/node {{ARGS}}

# Three people on this machine, with something to read
demo:
    cargo run --release -- demo

# All tests
test:
    cargo test --workspace --locked

# The test that boots a virtual machine; needs QEMU, and fetches a kernel with apt-get
test-vm:
    tests/vm/prepare
    cargo test --locked --test system net::machine -- --nocapture

# The tests with a Bluetooth stack in a virtual machine; needs QEMU, and fetches Debian's packages
test-bluetooth:
    tests/bluetooth/prepare
    cargo test --locked --test system bluetooth:: -- --nocapture --test-threads 1

# The program for a 64-bit Raspberry Pi, and a short run of it under an emulator
aarch64:
    tests/aarch64/run

# Put every file in order
fmt:
    cargo fmt --all

# Lints, as strict as the checks
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Licences, bans and sources of what is built in
deny:
    cargo deny --locked check --hide-inclusion-graph licenses bans sources

# Known holes in what is built in; needs the advisory database from the internet
advisories:
    cargo deny --locked check advisories

# Look for bytes that break a target; needs the nightly compiler and cargo-fuzz
fuzz TARGET SECONDS:
    mkdir -p fuzz/target/found/{{TARGET}}
    cargo +nightly fuzz run --sanitizer none {{TARGET}} fuzz/target/found/{{TARGET}} fuzz/corpus/{{TARGET}} -- -max_total_time={{SECONDS}} -dict=fuzz/dictionaries/{{TARGET}}.dict -max_len=16384 -timeout=30

# The code's own documentation
doc:
    cargo doc --workspace --no-deps --document-private-items --open

# A minute of the simulator on random seeds; what fails is printed with the command that shows it again
sim *ARGS:
    cargo run --release -p engine --example sim -- --minutes 1 --jobs 2 {{ARGS}}

# Everything that a change has to pass
ci:
    .ci/run
