#include "models/architectures.h"

#include <c10/util/accumulate.h>
#include <fmt/format.h>

#include "models/connected_networks.h"
#include "models/conv_net.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/mlp.h"
#include "models/scripted_network.h"

namespace afterimage {

std::unique_ptr<Network> make_network_for(const std::string& architecture, const std::string& parameterization,
                                          const std::vector<std::int64_t>& shape, std::int64_t outputs) {
  if (architecture.starts_with(ScriptedNetwork::family)) {
    throw UsageError(
        fmt::format("architecture \"{}\": comes with its weights, and a new network is needed; name a family, as in "
                    "mlp:WIDTH,...",
                    printable(architecture)));
  }
  const bool connected = is_connected_family(architecture);
  if (!connected && !architecture.starts_with(conv_net_family)) {
    return make_network(architecture, parameterization, c10::multiply_integers(shape), outputs);
  }
  if (parameterization != "standard") {
    throw UsageError(fmt::format("parameterization \"{}\": {} has to be standard", printable(parameterization),
                                 printable(architecture)));
  }
  return connected ? make_connected_network(architecture, shape, outputs) : make_conv_net(architecture, shape, outputs);
}

}  // namespace afterimage
