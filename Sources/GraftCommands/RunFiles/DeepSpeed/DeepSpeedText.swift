import Checkpoints
import Foundation
import JSONValues

/// Reads DeepSpeed's files: JSON with comments and a comma behind the last entry.
///
/// DeepSpeed reads Hjson, of which this is the part that files use. A key that occurs twice in one object
/// is an error, as there.
enum DeepSpeedText {
  /// Reads a file.
  ///
  /// - Throws: `CheckpointError` when it cannot be read, `JSONError` where it is no JSON apart from that,
  ///   ``RecipeError`` when it is no object.
  static func read(_ path: String) throws -> JSONObject {
    guard FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError.missing(path: path)
    }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CheckpointError.unreadable(path: path, reason: "it is not a file that can be read")
    }
    let parsed = try JSON.parse(
      Data(plain(Array(data))), file: path, rejectDuplicateKeys: true)
    guard let object = parsed.objectValue else {
      throw RecipeError("\(path): expected an object of DeepSpeed's keys")
    }
    return object
  }

  /// The text with spaces in place of comments and superfluous commas, so that offsets stay right.
  static func plain(_ text: [UInt8]) -> [UInt8] {
    var result = text
    var (position, isString) = (0, false)
    /// Where a comma stands that nothing has followed yet.
    var comma: Int?
    func blank(upTo end: Int) {
      for index in position..<end where result[index] != newline { result[index] = space }
      position = end
    }
    func find(_ bytes: [UInt8], from start: Int) -> Int {
      var index = start
      while index < text.count, !text[index...].starts(with: bytes) { index += 1 }
      return index
    }
    while position < text.count {
      let byte = text[position]
      if isString {
        if byte == quote { isString = false }
        position += byte == backslash ? 2 : 1
        continue
      }
      let next = position + 1 < text.count ? text[position + 1] : space
      if byte == hash || (byte == slash && next == slash) {
        blank(upTo: find([newline], from: position))
        continue
      }
      if byte == slash && next == star {
        blank(upTo: min(text.count, find([star, slash], from: position + 2) + 2))
        continue
      }
      switch byte {
      case quote:
        isString = true
        comma = nil
      case UInt8(ascii: ","): comma = position
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if let comma { result[comma] = space }
        comma = nil
      case space, newline, 0x09, 0x0D: break
      default: comma = nil
      }
      position += 1
    }
    return result
  }

  private static let (space, newline) = (UInt8(ascii: " "), UInt8(ascii: "\n"))
  private static let (quote, backslash) = (UInt8(ascii: "\""), UInt8(ascii: "\\"))
  private static let (slash, star, hash) = (UInt8(ascii: "/"), UInt8(ascii: "*"), UInt8(ascii: "#"))
}
