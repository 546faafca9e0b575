// The errors of the whole program. Each is one line: which file or option, what is wrong, what would be right.
//
// They are thrown where the fault is found and caught once, in main, which maps them to exit codes (docs/report.md,
// exit codes).
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace afterimage {

// Ends all that is under way: the input is wrong, the user asked to stop, or the machine is at its limits, and another
// attack would fare no better. Every other exception in an attack is a finding of that attack, and the others go on.
class FatalError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An option, a policy or a spec is wrong: exit 2.
class UsageError : public FatalError {
  using FatalError::FatalError;
};

// A weight, data or report file is unreadable, malformed, unsafe or unsupported: exit 4.
class InputError : public FatalError {
  using FatalError::FatalError;
};

// A file cannot be written, e.g. when the disk is full: exit 5.
class WriteError : public FatalError {
  using FatalError::FatalError;
};

// No memory is left: exit 5.
class OutOfMemory : public FatalError {
 public:
  OutOfMemory() : FatalError("out of memory; use fewer images or a smaller network") {}
};

// The user asked to stop: exit 130. What is finished is kept, unless nothing was.
class Interrupted : public FatalError {
 public:
  explicit Interrupted(bool kept = true) : FatalError("interrupted"), kept_(kept) {}
  bool kept() const { return kept_; }

 private:
  bool kept_;
};

// A method does not apply to its input (for example no row span after Adam); the message says why.
class NotApplicable : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The result of `read`, which reads a policy or a spec: what is wrong in such a file is bad usage (exit 2), not a bad
// input.
template <class Read>
auto input_as_usage(Read&& read) {
  try {
    return std::forward<Read>(read)();
  } catch (const InputError& error) {
    throw UsageError(error.what());
  }
}

}  // namespace afterimage
