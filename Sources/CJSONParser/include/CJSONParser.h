// A C view of simdjson's on-demand parser: one call reads a whole document into a flat tape.
//
// Nothing of C++ crosses this header: no type, no exception, no ownership but `cjson_document`.

#ifndef CJSONPARSER_H
#define CJSONPARSER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What one event of the tape stands for.
typedef enum cjson_kind {
  CJSON_NULL = 0,
  CJSON_FALSE = 1,
  CJSON_TRUE = 2,
  CJSON_INTEGER = 3,  ///< `integer` holds the value.
  CJSON_DOUBLE = 4,   ///< `number` holds the value.
  CJSON_DECIMAL = 5,  ///< A valid number that simdjson refuses to convert: `text` holds its spelling.
  CJSON_STRING = 6,   ///< `text` holds `length` bytes of valid UTF-8, not terminated.
  CJSON_ARRAY = 7,    ///< `length` values follow.
  CJSON_OBJECT = 8,   ///< `length` pairs of a CJSON_KEY and a value follow.
  CJSON_KEY = 9       ///< Like CJSON_STRING.
} cjson_kind;

/// One event. A container comes before its children, with their number.
typedef struct cjson_event {
  union {
    int64_t integer;
    double number;
    const uint8_t *text;
  };
  size_t offset;    ///< Byte offset of the token in the input.
  uint32_t length;  ///< Bytes of the text, or number of children.
  uint32_t kind;    ///< A `cjson_kind`.
} cjson_event;

/// Why a document was refused.
typedef enum cjson_status {
  CJSON_OK = 0,
  CJSON_OUT_OF_MEMORY,
  CJSON_TOO_LARGE,
  CJSON_TOO_DEEP,
  CJSON_EMPTY,
  CJSON_BAD_STRING,         ///< A bad escape, or half of a surrogate pair.
  CJSON_BAD_LITERAL,        ///< Neither null nor true nor false.
  CJSON_BAD_NUMBER,
  CJSON_BAD_UTF8,
  CJSON_CONTROL_CHARACTER,  ///< An unescaped control character inside a string.
  CJSON_UNCLOSED_STRING,
  CJSON_TRUNCATED,
  CJSON_TRAILING_CONTENT,
  CJSON_BAD_STRUCTURE       ///< A missing or superfluous comma, colon, bracket or value.
} cjson_status;

/// A parsed document, which owns its events and the bytes that they point to.
typedef struct cjson_document cjson_document;

/// Parses `length` bytes as one JSON text (RFC 8259, with nothing before or after but white space).
///
/// `depth` is the largest number of nested containers. On success `*document` is set and must be
/// given to `cjson_free`; otherwise it is NULL and `*error_offset` is where reading stopped, or
/// SIZE_MAX when that is not known.
cjson_status cjson_parse(const uint8_t *bytes, size_t length, size_t depth,
                         cjson_document **document, size_t *error_offset);

/// The events of a document, `*count` of them, valid until `cjson_free`.
const cjson_event *cjson_events(const cjson_document *document, size_t *count);

/// Frees a document; NULL is allowed.
void cjson_free(cjson_document *document);

#ifdef __cplusplus
}
#endif

#endif
