// SPDX-License-Identifier: LGPL-2.1-or-later
#include "api_adopt.h"

#include <dlfcn.h>

#include <filesystem>

#include "api_guard.h"
#include "families/factory.h"
#include "families/family.h"
#include "package/adopt.h"
#include "package/card.h"
#include "package/files.h"

namespace flowcache {
namespace {

using nlohmann::json;

std::string templates() {
  Dl_info info{};
  std::error_code ignored;
  if (!dladdr(reinterpret_cast<void*>(&fc_model_adopt), &info) || !info.dli_fname) return "";
  return shipped_templates(std::filesystem::canonical(info.dli_fname, ignored).parent_path());
}

// Why a model is not to be played as it was adopted; "" if nothing is against it.
std::string doubt_of(const json& report) {
  const auto text = [](const json& object, const char* field) { return object.at(field).get<std::string>(); };
  const std::string folder = text(report, "folder"), name = text(report, "name");
  std::string missing;
  for (const json& file : report.at("missing"))
    missing += (missing.empty() ? "" : "; ") + text(file, "name") +
               (text(file, "source").empty() ? "" : " (from " + text(file, "source") + ")");
  if (text(report, "sure") == "a guess")
    return folder + " has no model.json, and what it is would be a guess: " + text(report, "why") +
           "; if it is " + name + ", say --as " + name + ", else --as with another name of models/README.md";
  if (!missing.empty())
    return folder + " has no model.json; it is " + name + ", of which files are missing: " + missing +
           "; put them there and try again";
  if (!report.at("problems").empty())
    return folder + " has no model.json; it seems to be " + name + ", but " +
           report.at("problems")[0].get<std::string>();
  return "";
}

json run_adopt(const json& request) {
  Adoption how;
  for (const json& one : request.value("given", json::array()))
    how.given.emplace_back(one.get<std::string>());
  how.to = request.value("to", "");
  how.as = request.value("as", "");
  how.replace = request.value("replace", false);
  how.templates = templates();
  json report = adopt(how);
  const std::string file = report.at("file").get<std::string>();
  try {
    const ModelPackage package = read_model(file);
    report["folder"] = package.folder.string();
    report["missing"] = json::array();
    for (const PackageFile& one : package_files(package))
      if (!one.present)
        report["missing"].push_back({{"section", one.section}, {"name", one.name}, {"source", one.source}});
    report["problems"] = check_present_keys(package);
    const std::string doubt = request.value("sure", false) ? doubt_of(report) : "";
    if (!doubt.empty()) throw Error(FC_ERROR_MODEL, doubt);
  } catch (const Error&) {
    std::error_code ignored;
    if (request.value("sure", false)) std::filesystem::remove(file, ignored);
    throw;
  }
  return report;
}

}  // namespace
}  // namespace flowcache

extern "C" fc_status fc_model_adopt(const char* request, const char** report) {
  return flowcache::guarded([&] {
    if (!report) throw flowcache::Error(FC_ERROR_ARGUMENT, "report is NULL");
    const nlohmann::json wanted = nlohmann::json::parse(flowcache::text(request), nullptr, false);
    if (!wanted.is_object()) throw flowcache::Error(FC_ERROR_ARGUMENT, "request is no JSON object");
    thread_local std::string text;
    text = flowcache::run_adopt(wanted).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    *report = text.c_str();
  });
}
