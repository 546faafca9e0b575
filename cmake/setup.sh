# What audit/demo and tests/run share: Debian packages and the release build. To be sourced from the project's root.

build_packages=(
  g++ cmake ninja-build pkg-config
  libtorch-dev libopenblas-dev
  nlohmann-json3-dev libcli11-dev libfmt-dev libboost-math-dev libeigen3-dev coinor-libclp-dev
  libzip-dev zlib1g-dev libpng-dev libturbojpeg0-dev libssl-dev libstb-dev libkainjow-mustache-dev libjs-chart.js
  dataset-fashion-mnist
)
test_packages=(catch2 libbenchmark-dev python3 python3-jsonschema chromium clang-14 libclang-rt-14-dev)

# Installs those of the named packages that are not there. Says nothing and asks nobody when none is missing.
install_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# Configures, which is quick when nothing changed and finds what was installed since, and builds what changed. Arguments
# are targets; none builds all.
build_release() {
  cmake --preset release
  cmake --build build/release ${1:+--target "$@"}
}
