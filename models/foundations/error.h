// The errors of the whole program. Each is one line: which file or option, what is wrong, what would be right.
//
// They are thrown where the fault is known and caught once, in main, which maps them to exit codes (docs/report.md,
// exit codes).
#pragma once

#include <stdexcept>
#include <string>

namespace afterimage {

// An option, a policy or a spec is wrong: exit 2.
class UsageError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A weight, data or report file is unreadable, malformed, unsafe or unsupported: exit 4.
class InputError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A method does not apply to its input (for example no row span after Adam); the message says why.
class NotApplicable : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The user asked to stop; what is finished is kept: exit 130.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

}  // namespace afterimage
