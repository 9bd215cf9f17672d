#include "wire/wire_reader.h"

#include <cmath>
#include <limits>

#include "base/hash.h"
#include "config/nearest.h"
#include "state/event_record.h"

namespace grab {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

Status Bad(absl::string_view place, absl::string_view expected, absl::string_view got) {
  return absl::InvalidArgumentError(absl::StrCat(place, ": expected ", expected, ", got ", got));
}

// Bad of a place that the caller adds.
Status Wrong(absl::string_view expected, absl::string_view got) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", expected, ", got ", got));
}

const char* KindName(v1::Value::KindCase kind) {
  switch (kind) {
    case v1::Value::kId:
      return "an id";
    case v1::Value::kInteger:
      return "an integer";
    case v1::Value::kNumber:
      return "a number";
    case v1::Value::kKey:
      return "a key";
    case v1::Value::kIds:
      return "ids";
    case v1::Value::kVector:
      return "a vector";
    case v1::Value::KIND_NOT_SET:
      return "nothing";
  }
  return "an unknown kind";
}

absl::flat_hash_map<std::string, size_t> IndexOf(const std::vector<std::string>& names) {
  absl::flat_hash_map<std::string, size_t> index;
  for (size_t i = 0; i < names.size(); ++i) index.emplace(names[i], i);
  return index;
}

std::vector<std::string> NamesOf(const absl::flat_hash_map<std::string, size_t>& index) {
  std::vector<std::string> names;
  for (const auto& entry : index) names.push_back(entry.first);
  return names;
}

Status Unknown(const std::string& place, const std::string& name,
               const absl::flat_hash_map<std::string, size_t>& index) {
  return absl::InvalidArgumentError(absl::StrCat(place, ": there is no '", name, "' in the model",
                                                 DidYouMean(Nearest(name, NamesOf(index)))));
}

void AppendMissing(const FieldSchema& field, FieldColumn& out) {
  switch (field.kind) {
    case FieldKind::kId:
      out.ids.push_back(0);
      break;
    case FieldKind::kIds:
      out.offsets.push_back(static_cast<uint32_t>(out.ids.size()));
      break;
    case FieldKind::kNumber:
      out.numbers.push_back(kMissing);
      break;
    case FieldKind::kDense:
      out.numbers.resize(out.numbers.size() + field.width, kMissing);
      break;
  }
}

// Row 0 of `from`.
void AppendFirst(const FieldSchema& field, const FieldColumn& from, FieldColumn& out) {
  out.ids.insert(out.ids.end(), from.ids.begin(), from.ids.end());
  out.numbers.insert(out.numbers.end(), from.numbers.begin(), from.numbers.end());
  if (field.kind == FieldKind::kIds) out.offsets.push_back(static_cast<uint32_t>(out.ids.size()));
}

// Bits of a map of names to booleans.
Status ReadBits(const google::protobuf::Map<std::string, bool>& values,
                const absl::flat_hash_map<std::string, size_t>& index, const std::string& place,
                uint32_t& bits, uint32_t& known) {
  for (const auto& [name, value] : values) {
    const auto found = index.find(name);
    if (found == index.end()) return Unknown(place, name, index);
    const uint32_t bit = uint32_t{1} << found->second;
    known |= bit;
    if (value) bits |= bit;
  }
  return absl::OkStatus();
}

// No rows; memory stays.
void ClearRows(std::vector<FieldColumn>& fields) {
  for (FieldColumn& column : fields) {
    column.ids.clear();
    column.numbers.clear();
    if (!column.offsets.empty()) column.offsets.assign(1, 0);
  }
}

StatusOr<int> IdFieldOf(const Schema& schema, const std::string& setting, const std::string& name) {
  if (name.empty()) return -1;
  const int index = schema.FieldIndex(name);
  if (index >= 0 && schema.fields[static_cast<size_t>(index)].kind == FieldKind::kId) return index;
  return absl::InvalidArgumentError(
      absl::StrCat(setting, ": expected the name of an id field of the model, got '", name, "'"));
}

}  // namespace

StatusOr<WireReader> WireReader::Create(const Schema& schema, const Catalogue& catalogue,
                                        const WireLimits& limits, const std::string& item_field,
                                        const std::string& user_field) {
  WireReader wire(schema, catalogue, limits);
  for (size_t f = 0; f < schema.fields.size(); ++f) wire.fields_.emplace(schema.fields[f].name, f);
  wire.actions_ = IndexOf(schema.actions);
  wire.tasks_ = IndexOf(schema.tasks);
  GRAB_ASSIGN_OR_RETURN(wire.item_field_, IdFieldOf(schema, "item_field", item_field));
  GRAB_ASSIGN_OR_RETURN(wire.user_field_, IdFieldOf(schema, "user_field", user_field));
  return wire;
}

Status WireReader::CheckUser(absl::string_view user_id) {
  if (!user_id.empty() && user_id.size() <= kUserIdBytesMax) return absl::OkStatus();
  return Bad("user_id", absl::StrCat("1 to ", kUserIdBytesMax, " bytes"),
             absl::StrCat(user_id.size()));
}

Status WireReader::CheckCount(const char* what, int count, int count_max) {
  if (count > 0 && count <= count_max) return absl::OkStatus();
  return Bad(what, absl::StrCat("1 to ", count_max), absl::StrCat(count));
}

Status WireReader::CheckItem(absl::string_view item_id, const std::string& place) {
  if (item_id.size() <= kItemIdBytesMax) return absl::OkStatus();
  return Bad(absl::StrCat(place, "item_id"), absl::StrCat("at most ", kItemIdBytesMax, " bytes"),
             absl::StrCat(item_id.size()));
}

Status WireReader::CheckNames(const Fields& fields, const std::string& place) const {
  for (const auto& [name, value] : fields) {
    if (!fields_.contains(name)) return Unknown(place, name, fields_);
  }
  return absl::OkStatus();
}

Status WireReader::CheckTime(int64_t time_ms, int64_t now_ms, const std::string& place) const {
  const int64_t latest = now_ms + limits_.time_ahead_s_max * 1000;
  if (time_ms >= 0 && time_ms <= latest) return absl::OkStatus();
  return Bad(place,
             absl::StrCat("Unix ms from 0 to ", latest, " (", limits_.time_ahead_s_max,
                          " s ahead of this server)"),
             absl::StrCat(time_ms));
}

StatusOr<uint64_t> WireReader::KeyOfText(absl::string_view id) const {
  if (!id.empty() && id.size() <= static_cast<size_t>(limits_.text_bytes_max)) return HashId(id);
  return Wrong(absl::StrCat("an id of 1 to ", limits_.text_bytes_max, " bytes"),
               absl::StrCat(id.size(), " bytes"));
}

StatusOr<uint64_t> WireReader::KeyOf(const v1::Value& value) const {
  if (value.has_id()) return KeyOfText(value.id());
  if (value.has_integer()) return HashId(value.integer());
  if (!value.has_key()) return Wrong("an id, an integer or a key", KindName(value.kind_case()));
  if (value.key() == 0) return Wrong("a key", "0");
  return value.key();
}

Status WireReader::AppendIds(const FieldSchema& field, const v1::IdList& list,
                             FieldColumn& out) const {
  if (list.ids_size() > 0 && list.keys_size() > 0) return Wrong("ids or keys", "both");
  const int count = list.ids_size() + list.keys_size();
  if (count > limits_.ids_max) {
    return Wrong(absl::StrCat("at most ", limits_.ids_max, " ids"), absl::StrCat(count));
  }
  const int weights = field.weighted ? count : 0;
  if (list.weights_size() != weights) {
    return Wrong(absl::StrCat(weights, " weights"), absl::StrCat(list.weights_size()));
  }
  for (const float weight : list.weights()) {
    if (!std::isfinite(weight)) return Wrong("finite weights", absl::StrCat(weight));
  }
  for (const std::string& id : list.ids()) {
    GRAB_ASSIGN_OR_RETURN(const uint64_t key, KeyOfText(id));
    out.ids.push_back(key);
  }
  for (const uint64_t key : list.keys()) {
    if (key == 0) return Wrong("keys", "0");
    out.ids.push_back(key);
  }
  out.numbers.insert(out.numbers.end(), list.weights().begin(), list.weights().end());
  out.offsets.push_back(static_cast<uint32_t>(out.ids.size()));
  return absl::OkStatus();
}

Status WireReader::AppendValue(const FieldSchema& field, const v1::Value& value,
                               FieldColumn& out) const {
  const char* const kind = KindName(value.kind_case());
  switch (field.kind) {
    case FieldKind::kId: {
      GRAB_ASSIGN_OR_RETURN(const uint64_t key, KeyOf(value));
      out.ids.push_back(key);
      return absl::OkStatus();
    }
    case FieldKind::kIds:
      return value.has_ids() ? AppendIds(field, value.ids(), out) : Wrong("ids", kind);
    case FieldKind::kNumber: {
      if (!value.has_number() && !value.has_integer()) return Wrong("a number", kind);
      const double number =
          value.has_number() ? value.number() : static_cast<double>(value.integer());
      if (!(std::abs(number) <= double{std::numeric_limits<float>::max()})) {
        return Wrong("a finite number", absl::StrCat(number));
      }
      out.numbers.push_back(static_cast<float>(number));
      return absl::OkStatus();
    }
    case FieldKind::kDense: {
      if (!value.has_vector()) return Wrong("a vector", kind);
      const auto& values = value.vector().values();
      if (values.size() != static_cast<int>(field.width)) {
        return Wrong(absl::StrCat(field.width, " numbers"), absl::StrCat(values.size()));
      }
      for (const float number : values) {
        if (!std::isfinite(number)) return Wrong("finite numbers", absl::StrCat(number));
      }
      out.numbers.insert(out.numbers.end(), values.begin(), values.end());
      return absl::OkStatus();
    }
  }
  return absl::InternalError("unknown kind of field");
}

Status WireReader::AppendFields(const Sources& sources, const std::string& place,
                                std::vector<FieldColumn>& out) const {
  for (size_t f = 0; f < schema_.fields.size(); ++f) {
    const FieldSchema& field = schema_.fields[f];
    if (const auto own = sources.own->find(field.name); own != sources.own->end()) {
      const Status status = AppendValue(field, own->second, out[f]);
      if (!status.ok()) return Annotate(status, absl::StrCat(place, "fields.", field.name));
      continue;
    }
    if (sources.item != nullptr && HasValue(field, (*sources.item)[f], 0)) {
      AppendFirst(field, (*sources.item)[f], out[f]);
      continue;
    }
    if (sources.shared != nullptr) {
      if (const auto shared = sources.shared->find(field.name); shared != sources.shared->end()) {
        const Status status = AppendValue(field, shared->second, out[f]);
        if (!status.ok()) return Annotate(status, absl::StrCat("context.", field.name));
        continue;
      }
    }
    const int index = static_cast<int>(f);
    if (index == item_field_ && !sources.item_id.empty()) {
      out[f].ids.push_back(HashId(sources.item_id));
    } else if (index == user_field_ && !sources.user_id.empty()) {
      out[f].ids.push_back(HashId(sources.user_id));
    } else {
      AppendMissing(field, out[f]);
    }
  }
  return CheckSize(out, place);
}

Status WireReader::CheckSize(const std::vector<FieldColumn>& fields,
                             const std::string& place) const {
  size_t values = 0;
  for (const FieldColumn& column : fields) values += column.ids.size() + column.numbers.size();
  if (values <= limits_.values_max) return absl::OkStatus();
  return Bad(absl::StrCat(place, "fields"),
             absl::StrCat("at most ", limits_.values_max, " values over all rows"),
             absl::StrCat(values));
}

template <class Request>
Status WireReader::ReadCandidatesOf(const Request& request, int64_t now_ms,
                                    EventColumns& out) const {
  GRAB_RETURN_IF_ERROR(CheckUser(request.user_id()));
  GRAB_RETURN_IF_ERROR(CheckTime(request.time_ms(), now_ms, "time_ms"));
  GRAB_RETURN_IF_ERROR(CheckCount("candidates", request.candidates_size(), limits_.candidates_max));
  GRAB_RETURN_IF_ERROR(CheckNames(request.context(), "context"));
  const int64_t time_ms = request.time_ms() == 0 ? now_ms : request.time_ms();
  const auto count = static_cast<size_t>(request.candidates_size());
  out = MakeColumns(schema_);
  out.event_id.assign(count, 0);
  out.request_time_ms.assign(count, time_ms);
  out.known_time_ms.assign(count, time_ms);
  out.page_id.assign(count, 0);
  out.session_id.assign(count, 0);
  out.split.assign(count, Split::kContext);
  out.history.assign(count, 0);
  for (std::vector<uint32_t>* bits :
       {&out.actions, &out.actions_known, &out.labels, &out.labels_known}) {
    bits->assign(count, 0);
  }
  std::vector<FieldColumn> item = MakeColumns(schema_).fields;
  for (int c = 0; c < request.candidates_size(); ++c) {
    const v1::Candidate& candidate = request.candidates(c);
    const std::string place = absl::StrCat("candidates[", c, "].");
    GRAB_RETURN_IF_ERROR(CheckItem(candidate.item_id(), place));
    GRAB_RETURN_IF_ERROR(CheckNames(candidate.fields(), absl::StrCat(place, "fields")));
    ClearRows(item);
    const bool known = !candidate.item_id().empty() && catalogue_.Find(candidate.item_id(), item);
    GRAB_RETURN_IF_ERROR(AppendFields({&candidate.fields(), known ? &item : nullptr,
                                       &request.context(), candidate.item_id(), request.user_id()},
                                      place, out.fields));
  }
  return absl::OkStatus();
}

Status WireReader::ReadCandidates(const v1::RankRequest& request, int64_t now_ms,
                                  EventColumns& out) const {
  if (request.trace_id().size() > static_cast<size_t>(limits_.text_bytes_max)) {
    return Bad("trace_id", absl::StrCat("at most ", limits_.text_bytes_max, " bytes"),
               absl::StrCat(request.trace_id().size()));
  }
  return ReadCandidatesOf(request, now_ms, out);
}

Status WireReader::ReadCandidates(const v1::InspectRequest& request, int64_t now_ms,
                                  EventColumns& out) const {
  return ReadCandidatesOf(request, now_ms, out);
}

Status WireReader::AppendEvent(const v1::Event& event, int64_t now_ms, const std::string& place,
                               WireEvents& out) const {
  GRAB_RETURN_IF_ERROR(Annotate(CheckUser(event.user_id()), place));
  GRAB_RETURN_IF_ERROR(CheckItem(event.item_id(), place));
  GRAB_RETURN_IF_ERROR(CheckTime(event.known_time_ms(), now_ms, place + "known_time_ms"));
  GRAB_RETURN_IF_ERROR(CheckTime(event.request_time_ms(), now_ms, place + "request_time_ms"));
  const int64_t known_ms = event.known_time_ms() == 0 ? now_ms : event.known_time_ms();
  const int64_t request_ms = event.request_time_ms() == 0 ? known_ms : event.request_time_ms();
  if (known_ms < request_ms) {
    return Bad(place + "known_time_ms", absl::StrCat("request_time_ms ", request_ms, " or later"),
               absl::StrCat(known_ms));
  }
  const size_t id_bytes = event.event_id().size();
  const uint64_t id = event.has_event_key() ? event.event_key()
                      : id_bytes == 0       ? 0
                                            : HashId(event.event_id());
  if (id == 0 || id_bytes > static_cast<size_t>(limits_.text_bytes_max)) {
    return Bad(
        place + "event_id",
        absl::StrCat("1 to ", limits_.text_bytes_max, " bytes, or an event_key that is not 0"),
        absl::StrCat(id_bytes, " bytes"));
  }
  uint32_t actions = 0, actions_known = 0, labels = 0, labels_known = 0;
  GRAB_RETURN_IF_ERROR(
      ReadBits(event.actions(), actions_, place + "actions", actions, actions_known));
  GRAB_RETURN_IF_ERROR(ReadBits(event.labels(), tasks_, place + "labels", labels, labels_known));
  GRAB_RETURN_IF_ERROR(CheckNames(event.fields(), place + "fields"));
  std::vector<FieldColumn> item = MakeColumns(schema_).fields;
  const bool known = !event.item_id().empty() && catalogue_.Find(event.item_id(), item);
  GRAB_RETURN_IF_ERROR(AppendFields(
      {&event.fields(), known ? &item : nullptr, nullptr, event.item_id(), event.user_id()}, place,
      out.columns.fields));
  EventColumns& columns = out.columns;
  columns.event_id.push_back(id);
  columns.request_time_ms.push_back(request_ms);
  columns.known_time_ms.push_back(known_ms);
  columns.page_id.push_back(event.page_key());
  columns.session_id.push_back(event.session_key());
  columns.split.push_back(Split::kContext);
  columns.history.push_back(event.candidate_only() ? 0 : 1);
  columns.actions.push_back(actions);
  columns.actions_known.push_back(actions_known);
  columns.labels.push_back(labels);
  columns.labels_known.push_back(labels_known);
  out.user_id.push_back(event.user_id());
  out.item_id.push_back(event.item_id());
  return absl::OkStatus();
}

Status WireReader::ReadEvents(const v1::ObserveRequest& request, int64_t now_ms,
                              WireEvents& out) const {
  GRAB_RETURN_IF_ERROR(CheckCount("events", request.events_size(), limits_.events_max));
  out = WireEvents{MakeColumns(schema_), {}, {}};
  for (int e = 0; e < request.events_size(); ++e) {
    GRAB_RETURN_IF_ERROR(
        AppendEvent(request.events(e), now_ms, absl::StrCat("events[", e, "]."), out));
  }
  return absl::OkStatus();
}

Status WireReader::ReadItems(const v1::PutItemsRequest& request,
                             std::vector<FieldColumn>& out) const {
  GRAB_RETURN_IF_ERROR(CheckCount("items", request.items_size(), limits_.items_max));
  out = MakeColumns(schema_).fields;
  for (int i = 0; i < request.items_size(); ++i) {
    const v1::Item& item = request.items(i);
    const std::string place = absl::StrCat("items[", i, "].");
    GRAB_RETURN_IF_ERROR(CheckItem(item.item_id(), place));
    GRAB_RETURN_IF_ERROR(CheckNames(item.fields(), place + "fields"));
    GRAB_RETURN_IF_ERROR(
        AppendFields({&item.fields(), nullptr, nullptr, item.item_id(), ""}, place, out));
  }
  return absl::OkStatus();
}

}  // namespace grab
