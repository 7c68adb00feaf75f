import CPCRE2

/// A regular expression of a tokenizer file, matched on UTF-8 bytes by PCRE2.
///
/// The files are written for Oniguruma, whose classes differ a little from PCRE2's: see
/// `OnigurumaPattern`. Scalars newer than the Unicode version of the installed PCRE2 (14 for PCRE2
/// 10.42) count as unassigned.
final class RegularExpression: Sendable {
  // Written once in `init`; PCRE2 only reads a compiled pattern while it matches.
  private nonisolated(unsafe) let code: OpaquePointer
  /// The pattern without the characters that PCRE2 does not know, which is faster; for ASCII texts.
  private nonisolated(unsafe) let plainCode: OpaquePointer

  /// Compiles a pattern.
  ///
  /// - Parameter pattern: The pattern in Oniguruma's syntax.
  /// - Throws: A `Refusal` that says what is wrong.
  init(_ pattern: String) throws(Refusal) {
    let translated = try OnigurumaPattern.translate(pattern)
    code = try Self.compile(translated)
    let plain = try OnigurumaPattern.translate(pattern, namesNewerCharacters: false)
    plainCode = plain == translated ? code : try Self.compile(plain)
  }

  private static func compile(_ pattern: String) throws(Refusal) -> OpaquePointer {
    var errorCode: Int32 = 0
    var errorOffset = 0
    let context = pcre2_compile_context_create_8(nil)
    defer { pcre2_compile_context_free_8(context) }
    pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF))
    let options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C
    let compiled = pattern.withBytes { bytes in
      pcre2_compile_8(bytes.baseAddress, bytes.count, options, &errorCode, &errorOffset, context)
    }
    guard let compiled else {
      throw Refusal(reason: message(errorCode) + " (at byte \(errorOffset))")
    }
    // Without JIT, matching is the same but slower.
    pcre2_jit_compile_8(compiled, PCRE2_JIT_COMPLETE)
    return compiled
  }

  deinit {
    if plainCode != code { pcre2_code_free_8(plainCode) }
    pcre2_code_free_8(code)
  }

  /// Why a pattern cannot be used.
  struct Refusal: Error {
    let reason: String
  }

  /// Calls `body` with every match from left to right, empty ones included.
  ///
  /// An empty match right after another match is skipped. Where PCRE2 gives up on a text, because
  /// a pattern backtracks beyond its limits, the rest of the text has no match.
  func forEachMatch(
    in text: UnsafeBufferPointer<UInt8>, _ body: (_ start: Int, _ end: Int) -> Void
  ) {
    guard let base = text.baseAddress, !text.isEmpty else { return }
    let code = text.isASCII ? plainCode : code
    let data = pcre2_match_data_create_8(1, nil)
    defer { pcre2_match_data_free_8(data) }
    guard let offsets = pcre2_get_ovector_pointer_8(data) else { return }
    var position = 0
    var lastEnd = -1
    while position <= text.count {
      var status = pcre2_match_8(
        code, base, text.count, position, PCRE2_NO_UTF_CHECK, data, nil)
      if status == PCRE2_ERROR_JIT_STACKLIMIT {
        status = pcre2_match_8(
          code, base, text.count, position, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, nil)
      }
      guard status >= 0 else { return }
      let start = offsets[0]
      let end = offsets[1]
      if end > start {
        body(start, end)
        position = end
        lastEnd = end
      } else {
        if end != lastEnd { body(start, end) }
        guard end < text.count else { return }
        position = end + text.scalar(at: end).width
      }
    }
  }

  private static func message(_ code: Int32) -> String {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = pcre2_get_error_message_8(code, &buffer, buffer.count)
    return count < 0 ? "error \(code)" : String(decoding: buffer.prefix(Int(count)), as: UTF8.self)
  }
}
