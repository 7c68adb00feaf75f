#include "CJSONParser.h"

#include <simdjson.h>

#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

namespace ondemand = simdjson::ondemand;

struct cjson_document {
  std::unique_ptr<char[]> input;  // '[' + text + ']' + padding: raw number tokens point into it
  ondemand::parser parser;        // owns the unescaped strings
  std::vector<cjson_event> events;
};

namespace {

cjson_status status_of(simdjson::error_code code) {
  switch (code) {
    case simdjson::SUCCESS: return CJSON_OK;
    case simdjson::CAPACITY: return CJSON_TOO_LARGE;
    case simdjson::MEMALLOC: return CJSON_OUT_OF_MEMORY;
    case simdjson::DEPTH_ERROR: return CJSON_TOO_DEEP;
    case simdjson::STRING_ERROR: return CJSON_BAD_STRING;
    case simdjson::T_ATOM_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR: return CJSON_BAD_LITERAL;
    case simdjson::NUMBER_ERROR: return CJSON_BAD_NUMBER;
    case simdjson::UTF8_ERROR: return CJSON_BAD_UTF8;
    case simdjson::EMPTY: return CJSON_EMPTY;
    case simdjson::UNESCAPED_CHARS: return CJSON_CONTROL_CHARACTER;
    case simdjson::UNCLOSED_STRING: return CJSON_UNCLOSED_STRING;
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT: return CJSON_TRUNCATED;
    case simdjson::TRAILING_CONTENT: return CJSON_TRAILING_CONTENT;
    default: return CJSON_BAD_STRUCTURE;
  }
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The grammar of RFC 8259, section 6. `integral`: neither fraction nor exponent.
bool is_number(std::string_view token, bool &integral) {
  size_t at = 0;
  const size_t end = token.size();
  auto digits = [&] {
    const size_t start = at;
    while (at < end && is_digit(token[at])) at++;
    return at > start;
  };
  if (at < end && token[at] == '-') at++;
  if (at < end && token[at] == '0') {
    at++;
  } else if (!digits()) {
    return false;
  }
  integral = true;
  if (at < end && token[at] == '.') {
    integral = false;
    at++;
    if (!digits()) return false;
  }
  if (at < end && (token[at] == 'e' || token[at] == 'E')) {
    integral = false;
    at++;
    if (at < end && (token[at] == '+' || token[at] == '-')) at++;
    if (!digits()) return false;
  }
  return at == end;
}

// False when the value does not fit into 64 bits. `token` is a valid integer.
bool integer_of(std::string_view token, int64_t &value) {
  const bool negative = token[0] == '-';
  uint64_t magnitude = 0;
  for (size_t at = negative ? 1 : 0; at < token.size(); at++) {
    if (__builtin_mul_overflow(magnitude, uint64_t{10}, &magnitude)) return false;
    if (__builtin_add_overflow(magnitude, uint64_t(token[at] - '0'), &magnitude)) return false;
  }
  const uint64_t limit = uint64_t{1} << 63;
  if (magnitude > limit || (!negative && magnitude == limit)) return false;
  value = negative ? int64_t(0 - magnitude) : int64_t(magnitude);
  return true;
}

class Reader {
 public:
  Reader(cjson_document &document, size_t depth) : document_(document), limit_(depth) {}

  size_t location = SIZE_MAX;  // offset of the token read last

  cjson_status value(ondemand::value value, size_t depth) {
    const std::string_view token = value.raw_json_token();
    location = offset(token.data());
    ondemand::json_type type;
    if (auto error = value.type().get(type)) return status_of(error);
    switch (type) {
      case ondemand::json_type::array: return array(value, depth + 1);
      case ondemand::json_type::object: return object(value, depth + 1);
      case ondemand::json_type::number: return number(value, token);
      case ondemand::json_type::string: {
        std::string_view text;
        if (auto error = value.get_string().get(text)) return status_of(error);
        return push_text(CJSON_STRING, text);
      }
      case ondemand::json_type::boolean: {
        bool flag;
        if (auto error = value.get_bool().get(flag)) return status_of(error);
        push(flag ? CJSON_TRUE : CJSON_FALSE);
        return CJSON_OK;
      }
      case ondemand::json_type::null: {
        bool null = false;
        if (simdjson::simdjson_result<bool>(value.is_null()).get(null) || !null) {
          return CJSON_BAD_LITERAL;
        }
        push(CJSON_NULL);
        return CJSON_OK;
      }
    }
    return CJSON_BAD_STRUCTURE;
  }

 private:
  cjson_document &document_;
  size_t limit_;

  size_t offset(const char *position) const { return position - document_.input.get() - 1; }

  cjson_event &push(cjson_kind kind) {
    cjson_event event;
    event.integer = 0;
    event.offset = location;
    event.length = 0;
    event.kind = kind;
    document_.events.push_back(event);
    return document_.events.back();
  }

  cjson_status push_text(cjson_kind kind, std::string_view text) {
    cjson_event &event = push(kind);
    event.text = reinterpret_cast<const uint8_t *>(text.data());
    event.length = uint32_t(text.size());  // simdjson refuses inputs of 4 GiB and more
    return CJSON_OK;
  }

  cjson_status number(ondemand::value &value, std::string_view token) {
    while (!token.empty() && is_space(token.back())) token.remove_suffix(1);
    bool integral = false;
    if (!is_number(token, integral)) return CJSON_BAD_NUMBER;
    int64_t integer;
    if (integral && integer_of(token, integer)) {
      push(CJSON_INTEGER).integer = integer;
      return CJSON_OK;  // a value that is not consumed is skipped by the iterator
    }
    double number;
    if (!integral && value.get_double().get(number) == simdjson::SUCCESS) {
      push(CJSON_DOUBLE).number = number;
      return CJSON_OK;
    }
    return push_text(CJSON_DECIMAL, token);
  }

  cjson_status array(ondemand::value &source, size_t depth) {
    if (depth > limit_) return CJSON_TOO_DEEP;
    const size_t at = document_.events.size();
    push(CJSON_ARRAY);
    ondemand::array items;
    if (auto error = source.get_array().get(items)) return status_of(error);
    uint32_t count = 0;
    for (auto item : items) {
      ondemand::value inner;
      if (auto error = item.get(inner)) return status_of(error);
      if (auto status = value(inner, depth)) return status;
      count++;
    }
    document_.events[at].length = count;
    return CJSON_OK;
  }

  cjson_status object(ondemand::value &source, size_t depth) {
    if (depth > limit_) return CJSON_TOO_DEEP;
    const size_t at = document_.events.size();
    push(CJSON_OBJECT);
    ondemand::object fields;
    if (auto error = source.get_object().get(fields)) return status_of(error);
    uint32_t count = 0;
    for (auto item : fields) {
      ondemand::field field;
      if (auto error = std::move(item).get(field)) return status_of(error);
      location = offset(field.key().raw());
      if (location > 0) location--;  // the quote
      std::string_view key;
      if (auto error = field.unescaped_key().get(key)) return status_of(error);
      push_text(CJSON_KEY, key);
      if (auto status = value(field.value(), depth)) return status;
      count++;
    }
    document_.events[at].length = count;
    return CJSON_OK;
  }
};

// The text is wrapped into an array, so that a scalar needs no path of its own.
cjson_status parse(cjson_document &document, const uint8_t *bytes, size_t length, size_t depth,
                   size_t &location) {
  document.input.reset(new char[length + 2 + simdjson::SIMDJSON_PADDING]);
  char *input = document.input.get();
  input[0] = '[';
  if (length > 0) std::memcpy(input + 1, bytes, length);
  input[length + 1] = ']';
  std::memset(input + length + 2, ' ', simdjson::SIMDJSON_PADDING);
  if (auto error = document.parser.allocate(length + 2, depth + 8)) return status_of(error);

  ondemand::document source;
  auto result = document.parser.iterate(input, length + 2, length + 2 + simdjson::SIMDJSON_PADDING);
  if (auto error = std::move(result).get(source)) return status_of(error);
  ondemand::array items;
  if (auto error = source.get_array().get(items)) return status_of(error);
  Reader reader(document, depth);
  size_t count = 0;
  for (auto item : items) {
    location = reader.location;
    ondemand::value value;
    if (auto error = item.get(value)) return status_of(error);
    if (count == 1) {
      location = size_t(value.raw_json_token().data() - input) - 1;
      return CJSON_TRAILING_CONTENT;
    }
    auto status = reader.value(value, 0);
    location = reader.location;
    if (status) return status;
    count++;
  }
  const char *rest;  // an error says that nothing is left
  if (source.current_location().get(rest) == simdjson::SUCCESS) {
    location = size_t(rest - input) - 1;
    return CJSON_TRAILING_CONTENT;
  }
  return count == 1 ? CJSON_OK : CJSON_EMPTY;
}

}  // namespace

cjson_status cjson_parse(const uint8_t *bytes, size_t length, size_t depth,
                         cjson_document **document, size_t *error_offset) {
  *document = nullptr;
  *error_offset = SIZE_MAX;
  if (length > UINT32_MAX - 2 - simdjson::SIMDJSON_PADDING) return CJSON_TOO_LARGE;
  try {
    auto created = std::make_unique<cjson_document>();
    size_t location = SIZE_MAX;
    const cjson_status status = parse(*created, bytes, length, depth, location);
    if (status) {
      *error_offset = location;
      return status;
    }
    *document = created.release();
    return CJSON_OK;
  } catch (const std::bad_alloc &) {
    return CJSON_OUT_OF_MEMORY;
  } catch (...) {
    return CJSON_BAD_STRUCTURE;
  }
}

const cjson_event *cjson_events(const cjson_document *document, size_t *count) {
  *count = document->events.size();
  return document->events.data();
}

void cjson_free(cjson_document *document) { delete document; }
