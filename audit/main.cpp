#include "audit/commands/program.h"
#include "models/compute.h"

int main(int argc, char** argv) {
  afterimage::restart_without_spinning(argv);
  return afterimage::run_program(argc, argv);
}
