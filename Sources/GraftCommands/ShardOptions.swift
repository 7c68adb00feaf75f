import Checkpoints
import CommandLineParsing

/// A number of bytes as people write it: `5GB`, `300MB`, or bytes alone.
struct ByteSize: OptionValue, Equatable {
  let bytes: Int

  static var valueName: String { "SIZE" }

  /// Powers of 1000, as in transformers.
  private static let units = ["KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12]

  init(bytes: Int) { self.bytes = bytes }

  init?(optionText: String) {
    let text = optionText.uppercased()
    if let bytes = Int(text) {
      guard bytes > 0 else { return nil }
      self.bytes = bytes
      return
    }
    guard let factor = Self.units[String(text.suffix(2))],
      let number = Double(text.dropLast(2)), number > 0, number * factor < 1e18,
      number * factor >= 1
    else { return nil }
    bytes = Int(number * factor)
  }

  var optionText: String {
    for unit in ["TB", "GB", "MB", "KB"] {
      let factor = Int(Self.units[unit] ?? 1)
      if bytes.isMultiple(of: factor) { return "\(bytes / factor)\(unit)" }
    }
    return "\(bytes)"
  }
}

/// The option of verbs that write models.
enum ShardOptions {
  static let maximumShardSize = Option<ByteSize>(
    "max-shard-size", default: ByteSize(bytes: ShardedSafetensorsWriter.defaultShardLimit),
    help: "Most bytes of weights in one file, such as 5GB; a larger model is written in shards.")

  static func limit(_ arguments: ParsedArguments) -> Int {
    arguments[maximumShardSize]?.bytes ?? ShardedSafetensorsWriter.defaultShardLimit
  }
}
