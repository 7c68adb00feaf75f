public import Foundation
public import JSONValues

/// Changes at random, the same for the same seed; for tests that files of any kind are used or refused.
///
/// `GRAFT_FUZZ=N` makes N times as many, `GRAFT_FUZZ_SEED=N` begins elsewhere.
public struct Mutations {
  private var state: UInt64

  /// How many times the usual number of changes are made.
  public static let factor = integer("GRAFT_FUZZ") ?? 1
  private static let offset = UInt64(integer("GRAFT_FUZZ_SEED") ?? 0)

  private static func integer(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }.map { max($0, 0) }
  }

  /// Begins a sequence.
  ///
  /// - Parameter seed: Where.
  public init(seed: UInt64) { state = seed &+ Self.offset &* 0x1_0000_0001 }

  /// The next number.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }

  /// A number from 0 on.
  ///
  /// - Parameter limit: What it is below.
  /// - Returns: The number; 0 where the limit is not positive.
  public mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(limit, 1))) }

  /// A JSON text that differs from that of a value: other members, cut off, or other bytes.
  ///
  /// - Parameter json: The value.
  /// - Returns: The bytes of a file.
  public mutating func changedFile(_ json: JSON) -> Data {
    var value = json
    for _ in 0..<below(3) + 1 { value = changed(value) }
    var bytes = Array(value.serialized(indent: below(2) * 2).utf8)
    switch below(12) {
    case 0: bytes.removeLast(below(bytes.count + 1))
    case 1: for _ in 0...below(4) where !bytes.isEmpty { flip(&bytes) }
    case 2:
      // Numbers that JSON's grammar has no word for, or that no type holds.
      let spellings = [
        "NaN", "-Infinity", "1e999", "-0", "1e308", "123456789012345678901234567890",
      ]
      let text = String(decoding: bytes, as: UTF8.self)
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      let place = below(parts.count)
      bytes = Array(
        parts.enumerated().map { index, part in
          guard index == place, let end = part.firstIndex(where: { ",}\n".contains($0) }) else {
            return String(part)
          }
          return spellings[below(spellings.count)] + part[end...]
        }.joined(separator: ":").utf8)
    default: break
    }
    return Data(bytes)
  }

  /// Text in which bytes are others, are missing, or stand twice.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - pieces: What may be put in; none for bytes alone.
  /// - Returns: The changed text.
  public mutating func changed(_ text: String, pieces: [String] = []) -> String {
    var bytes = Array(text.utf8)
    for _ in 0...below(3) {
      let start = below(bytes.count)
      let end = min(bytes.count, start + below(12))
      switch below(5) {
      case 0: if !bytes.isEmpty { flip(&bytes) }
      case 1: bytes.removeSubrange(start..<end)
      case 2: bytes.insert(contentsOf: Array(bytes[start..<end]), at: below(bytes.count + 1))
      case 3: bytes.removeLast(below(bytes.count + 1) / 4)
      default:
        guard !pieces.isEmpty else { continue }
        bytes.insert(contentsOf: Array(pieces[below(pieces.count)].utf8), at: start)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private mutating func flip(_ bytes: inout [UInt8]) {
    bytes[below(bytes.count)] ^= UInt8(1 << below(8))
  }

  /// A value in which one member or element, at any depth, is another one.
  ///
  /// - Parameter json: The value.
  /// - Returns: The changed value.
  public mutating func changed(_ json: JSON) -> JSON {
    switch json {
    case .object(let object) where object.count > 0 && below(10) > 0:
      var object = object
      let key = object.keys[below(object.count)]
      switch below(12) {
      case 0: object[key] = nil
      case 1: object[key + "x"] = object[key]
      default: object[key] = changed(object[key] ?? .null)
      }
      return .object(object)
    case .array(var items) where !items.isEmpty && below(8) > 0:
      let index = below(items.count)
      switch below(6) {
      case 0: items.remove(at: index)
      case 1: items.append(items[index])
      default: items[index] = changed(items[index])
      }
      return .array(items)
    case .string(let text): return below(2) == 0 ? .string(changed(text)) : other()
    case .integer(let value):
      return below(3) == 0 ? .integer(value &+ below(7) &- 3) : below(2) == 0 ? number() : other()
    case .number(let value): return below(3) == 0 ? .number(-value) : number()
    case .bool(let value): return below(3) > 0 ? .bool(!value) : other()
    default: return other()
    }
  }

  /// Numbers at which programs stumble.
  private mutating func number() -> JSON {
    let values: [JSON] = [
      0, -1, 1, 2, 3, 7, 65536, 0.5, -0.25, 1e-300, 1e300, 1e15, -1e18, 1e19, 2_147_483_647,
      2_147_483_648, 4_294_967_296, 1_000_000_000_000_000, .integer(.max), .integer(.min), 16777217,
    ]
    return values[below(values.count)]
  }

  private mutating func other() -> JSON {
    switch below(8) {
    case 0: return .null
    case 1: return .bool(below(2) == 0)
    case 2, 3: return number()
    case 4: return .string(["", "x", "0", "true", "\u{0}", "é\u{301}"][below(6)])
    case 5: return []
    case 6: return (0..<1 + below(5) * 60).reduce(1) { json, _ in .array([json]) }
    default: return .object(JSONObject([("type", "x"), ("0", number())]))
    }
  }
}
