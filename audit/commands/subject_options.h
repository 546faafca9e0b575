// The options that name what is audited, shared by audit, attack and deviation: a run directory or its files one by
// one, and the control set.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "audit/audit_input.h"

namespace afterimage {

struct SubjectOptions {
  std::string run;
  SubjectFiles files;
  ControlRequest control;
  bool unknown_start = false;  // of a run: its initial weights are left out

  void add_to(CLI::App& command);
  // Throws UsageError on options of which one leaves another unheard, or when neither a run nor its files are given.
  void validate() const;
  AuditInput load(std::int64_t seed) const;  // validates first
};

// How the pictures of --data become what a network sees.
void add_input_options(CLI::App& command, InputRequest& request, const std::string& group = "Options");

// Declares options under their own names, those of each owner together in the help. What is typed goes into `given`,
// and nothing else. A name that the command has already stays as it is: owners share options.
void add_declared(CLI::App& command, const std::vector<OptionSpec>& specs, const std::string& owner,
                  std::map<std::string, std::string>& given);
// The options of all attacks.
void add_attack_options(CLI::App& command, std::map<std::string, std::string>& given);
// Throws UsageError on an option that none of the attacks of these names has.
void require_heard(const std::map<std::string, std::string>& given, const std::vector<std::string>& attacks);

}  // namespace afterimage
