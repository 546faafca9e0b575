#include "audit/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr double kibibyte = 1024;
constexpr std::int64_t measured_size = 768;  // of the matrices whose product is timed

// Bytes that the system's status file of this process has under `name`, given there in KiB.
double status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":", 0) == 0) return kibibyte * std::strtod(line.c_str() + name.size() + 1, nullptr);
  }
  return 0;
}

// Multiplications a second in float32 matrix products.
double product_rate() {
  const Tensor a = at::ones({measured_size, measured_size});
  at::mm(a, a);
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> spent{};
  double products = 0;
  constexpr double long_enough = 0.1;
  while (spent.count() < long_enough) {
    at::mm(a, a);
    products += std::pow(static_cast<double>(measured_size), 3);
    spent = std::chrono::steady_clock::now() - start;
  }
  return products / spent.count();
}

}  // namespace

std::vector<Forecast> forecast(const AuditInput& input, const AuditRequest& request, const Context& context) {
  const double rate = product_rate(), held = status_bytes("VmRSS"), most = status_bytes("VmHWM");
  std::vector<Forecast> forecasts;
  for (const auto& [attack, configured] : attacks_of(request)) {
    const TrainedNetwork* released = input.subject.trained_network();
    const bool applies = (released != nullptr && released->knows_initial()) || attack.works_without_initial;
    const Estimate estimate = applies ? configured.estimate(input.subject, input.truth.training.size(0)) : Estimate{};
    forecasts.push_back({attack.name,
                         estimate.products / rate + estimate.programme_seconds / context.threads + estimate.seconds,
                         std::max(most, held + estimate.bytes)});
  }
  return forecasts;
}

double parse_bytes(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit(end);
  unit.erase(0, std::min(unit.find_first_not_of(' '), unit.size()));
  const std::pair<const char*, int> powers[] = {{"", 0}, {"B", 0}, {"KiB", 1}, {"MiB", 2}, {"GiB", 3}, {"TiB", 4}};
  for (const auto& [known, power] : powers) {
    if (unit == known && end != text.c_str() && number > 0 && std::isfinite(number))
      return number * std::pow(kibibyte, power);
  }
  throw UsageError(fmt::format("{} {}: has to be a size, as in 4GiB or 512MiB", option, text));
}

std::string bytes_text(double bytes) {
  const double mebibytes = bytes / kibibyte / kibibyte;
  return mebibytes < kibibyte ? fmt::format("{:.0f} MiB", mebibytes) : fmt::format("{:.2f} GiB", mebibytes / kibibyte);
}

}  // namespace afterimage
