// The program: its options, what it says of errors, and its exit codes.
#pragma once

namespace afterimage {

// Runs the command that `argv` names, with C's convention. Returns the exit code (README lists them); throws nothing.
int run_program(int argc, char** argv);

}  // namespace afterimage
