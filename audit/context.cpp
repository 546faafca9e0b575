#include "audit/context.h"

#include <fmt/format.h>

#include "models/compute.h"
#include "models/foundations/files.h"

namespace afterimage {

Tool Context::tool() const {
  Tool tool;
  tool.version = AFTERIMAGE_VERSION;
  tool.libtorch = libtorch_version();
  tool.device = device;
  tool.threads = threads;
  tool.seed = seed;
  tool.command = command;
  return tool;
}

int exit_code(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
    case Verdict::not_gated:
      return done;
    case Verdict::fail:
      return violated;
    case Verdict::inconclusive:
      return inconclusive;
  }
  return internal;
}

std::uint64_t stage_seed(std::int64_t seed, const std::string& stage) {
  const std::string digest = sha256_of(fmt::format("{}/{}", seed, stage));
  return std::stoull(digest.substr(0, 15), nullptr, 16);
}

}  // namespace afterimage
