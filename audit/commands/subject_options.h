// The options that name what is audited, shared by audit, attack and deviation: a run directory or single files, and
// the control set.
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
  bool canaries = false;       // audit the run's canaries alone
  bool unknown_start = false;  // leave out the initial weights of the run

  void add_to(CLI::App& command);
  // Throws UsageError on options that exclude each other, or where neither a run nor its files are given.
  void validate() const;
  AuditInput load(std::int64_t seed) const;  // validates first
};

// How the pictures of --data become inputs.
void add_input_options(CLI::App& command, InputRequest& request, const std::string& group = "Options");

// Declares options under their own names, grouped by owner in the help. Only the values that are typed go into `given`.
// A name that the command already has is skipped: owners share options.
void add_declared(CLI::App& command, const std::vector<OptionSpec>& specs, const std::string& owner,
                  std::map<std::string, std::string>& given);
// The options of all attacks.
void add_attack_options(CLI::App& command, std::map<std::string, std::string>& given);
// Throws UsageError on an option that none of these attacks has.
void require_used(const std::map<std::string, std::string>& given, const std::vector<std::string>& attacks);

}  // namespace afterimage
