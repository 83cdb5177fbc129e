// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache adopt: writes the model.json of a download, and says what it found and what is missing.
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "api_adopt.h"
#include "cli/commands.h"

namespace flowcache::cli {

namespace {

using nlohmann::json;

struct AdoptArguments {
  std::vector<std::string> given;
  std::string to, as;
  bool replace = false;
};

std::string text_of(const json& object, const char* field) {
  return object.at(field).get<std::string>();
}

int adopt(const AdoptArguments& a) {
  const json request = {{"given", a.given}, {"to", a.to}, {"as", a.as}, {"replace", a.replace}};
  const char* text = nullptr;
  check(fc_model_adopt(request.dump(-1, ' ', false, json::error_handler_t::replace).c_str(), &text));
  const json report = json::parse(text);
  std::printf("%s, %s: %s\n", text_of(report, "name").c_str(), text_of(report, "sure").c_str(),
              text_of(report, "why").c_str());
  if (report.at("sure") == "a guess")
    std::printf("  if it is another: flowcache adopt --replace --as NAME, with a name of models/README.md\n");
  for (const json& part : report.at("parts")) {
    const std::string layout = text_of(part, "layout");
    std::printf("  uses     %s: %s%s%s\n", text_of(part, "file").c_str(), text_of(part, "what").c_str(),
                layout.empty() ? "" : ", ", layout.c_str());
  }
  for (const json& part : report.at("unused"))
    std::printf("  leaves   %s: %s\n", text_of(part, "file").c_str(), text_of(part, "what").c_str());
  for (const json& file : report.at("missing"))
    std::printf("  missing  %s (%s)%s%s\n", text_of(file, "name").c_str(), text_of(file, "section").c_str(),
                text_of(file, "source").empty() ? "" : ": from ", text_of(file, "source").c_str());
  for (const json& problem : report.at("problems"))
    std::printf("  problem  %s\n", problem.get<std::string>().c_str());
  std::printf("  wrote    %s\n", text_of(report, "file").c_str());
  if (!report.at("problems").empty() || !report.at("missing").empty()) return 1;
  std::printf("  next     flowcache generate \"a red fox in snow\" -m %s -o fox.y4m\n",
              text_of(report, "folder").c_str());
  return 0;
}

}  // namespace

void adopt_download(const std::string& model, const std::string& as) {
  namespace fs = std::filesystem;
  std::error_code error;
  const bool described = !fs::is_directory(model, error) || fs::exists(fs::path(model) / "model.json", error);
  if (described && !as.empty())
    throw std::runtime_error("--as says what a download is that has no model.json yet; for " +
                             (model.empty() ? "the model that ships" : model) +
                             ": flowcache adopt --replace --as " + as);
  if (described) return;
  const json request = {{"given", {model}}, {"as", as}, {"sure", true}};
  const char* text = nullptr;
  check(fc_model_adopt(request.dump(-1, ' ', false, json::error_handler_t::replace).c_str(), &text));
  const json report = json::parse(text);
  std::fprintf(stderr, "%s is taken for %s, %s: %s\nwrote %s\n", model.c_str(),
               text_of(report, "name").c_str(), text_of(report, "sure").c_str(),
               text_of(report, "why").c_str(), text_of(report, "file").c_str());
}

Command add_adopt(CLI::App& app) {
  auto a = std::make_shared<AdoptArguments>();
  auto* command = app.add_subcommand(
      "adopt", "Write the model.json of a download, and say what it is and what is missing");
  command->add_option("given", a->given, "Folder of the download, or its files")->required();
  command->add_option(
      "--to", a->to,
      "The model's folder, where files that lie elsewhere are linked to; default: where they lie");
  command->add_option("--as", a->as,
                      "Which model it is, such as self-forcing-1.3b; default: by its keys, then by its name");
  command->add_flag("--replace", a->replace, "Write a model.json anew that is there already");
  return [a] { return adopt(*a); };
}

}  // namespace flowcache::cli
