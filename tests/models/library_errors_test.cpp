// Errors of LibTorch in one line, and work that is stopped from outside.
#include "models/library_errors.h"

#include <catch2/catch.hpp>
#include <stdexcept>

#include "models/foundations/progress.h"
#include "models/foundations/stop.h"
#include "models/scripted_network.h"

namespace afterimage::test {

TEST_CASE("an error of the TorchScript interpreter is told by its cause, any other by its first line") {
  const std::runtime_error interpreted(
      "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript, serialized code:\n"
      "  File \"code/net.py\", line 5, in forward\n    x = torch.matmul(a, b)\n        ~~~~~~ <--- HERE\n"
      "RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x9 and 8x2)\n");
  CHECK(reason_of(interpreted) == "mat1 and mat2 shapes cannot be multiplied (3x9 and 8x2)");
  CHECK(reason_of(std::runtime_error("no such operator\nstack: 1")) == "no such operator");
  try {
    at::mm(at::ones({2, 3}), at::ones({2, 3}));
    FAIL("two matrices that do not fit were multiplied");
  } catch (const std::exception& error) {
    CHECK(reason_of(error).find("mat1 and mat2 shapes cannot be multiplied") == 0);
    CHECK(reason_of(error).find('\n') == std::string::npos);
  }
}

TEST_CASE("a network that goes through autograd stops where its scope says so, and only there") {
  const ScriptedNetwork network(TEST_DATA "/conv-traced.pt", "torchscript:conv-traced.pt", {8, 8}, 2);
  const Tensor images = at::zeros({2, 64});
  int checks = 0;
  {
    const StopScope outer([&] { ++checks; });
    network.evaluate(network.archived(), images);
    CHECK(checks == 1);
    {
      const StopScope inner([] { throw OutOfTime(); });
      CHECK_THROWS_AS(network.evaluate(network.archived(), images), OutOfTime);
    }
    network.evaluate(network.archived(), images);
    CHECK(checks == 2);
  }
  network.evaluate(network.archived(), images);
  CHECK(checks == 2);
}

}  // namespace afterimage::test
