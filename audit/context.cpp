#include "audit/context.h"

#include "models/compute.h"

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

}  // namespace afterimage
