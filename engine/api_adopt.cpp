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

json run_adopt(const json& request) {
  Adoption how;
  for (const json& one : request.value("given", json::array()))
    how.given.emplace_back(one.get<std::string>());
  how.to = request.value("to", "");
  how.as = request.value("as", "");
  how.replace = request.value("replace", false);
  how.templates = templates();
  json report = adopt(how);
  const ModelPackage package = read_model(report.at("file").get<std::string>());
  report["folder"] = package.folder.string();
  report["missing"] = json::array();
  for (const PackageFile& file : package_files(package))
    if (!file.present)
      report["missing"].push_back({{"section", file.section}, {"name", file.name}, {"source", file.source}});
  report["problems"] = check_present_keys(package);
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
